"""The settings of a run: their types and their rules. Defaults live in conf/; no Hydra and no torch here.

A rule that is broken raises `UserError` with the setting, its value and what may stand there instead.
"""

import re
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from resexp.errors import UserError
from resexp.formatting import listed, printable
from resexp.system.files import file_digest

Settings = TypeVar("Settings")


def require(holds: bool, setting: str, value: object, rule: str) -> None:
    """Raise `UserError` unless the rule holds."""
    if not holds:
        raise UserError(f"{setting}={'null' if value is None else value}: {rule}")


def within(setting: str, value: float, low: int, high: int) -> None:
    """The rule of a number with two bounds, either of which it may reach."""
    require(value >= low, setting, value, f"must be {low} or more")
    require(value <= high, setting, value, f"must be {high:,} or less")


def one_of(setting: str, value: str, *choices: str) -> None:
    """The rule of a setting with a few values."""
    require(value in choices, setting, value, f"choose {listed(choices, 'or')}")


def expand(setting: str, path: str | Path) -> Path:
    """A path without its `~`. Raises UserError where there is no such home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{setting}={path}: no such home folder; give a full path with {setting}=PATH") from error


USUAL: dict[str, Any] = {"linear": "default", "skip": 2, "start": ""}
"""Settings of a network that a run records only where they are others, as runs did before there were these."""


@dataclass(frozen=True)
class ModelConfig:
    """One network of the study."""

    name: str
    depth: int
    residual: bool
    shortcut: str
    width: int
    norm: str
    linear: str = USUAL["linear"]
    skip: int = USUAL["skip"]
    """Layers of a block, which its shortcut skips."""
    start: str = USUAL["start"]
    """Which weights training starts from: `start_id` of their file; empty for the seed's own."""

    def __post_init__(self) -> None:
        within("model.depth", self.depth, 8, 10_000)
        below = self.depth - (self.depth - 2) % 6
        nearest = f"a depth is 6n + 2; the nearest are {below} or {below + 6}"
        require(self.depth == below, "model.depth", self.depth, nearest)
        one_of("model.shortcut", self.shortcut, "A", "B", "C")
        none = "a plain network has no shortcuts; leave it at A"
        require(self.residual or self.shortcut == "A", "model.shortcut", self.shortcut, none)
        stacked = (self.depth - 2) // 3
        fits = type(self.skip) is int and self.skip > 0 and stacked % self.skip == 0
        require(fits, "model.skip", self.skip, f"must divide the {stacked} layers of a stage")
        none = "a plain network has no shortcuts; leave it at 2"
        require(self.residual or self.skip == 2, "model.skip", self.skip, none)
        within("model.width", self.width, 1, 64)
        one_of("model.norm", self.norm, "batch", "none")
        require(self.linear in ("default", "he"), "model.linear", self.linear, "choose default (PyTorch's) or he")

    def result(self) -> dict[str, Any]:
        """The settings as a run records them."""
        content = asdict(self)
        for name, usual in USUAL.items():
            if content[name] == usual:
                del content[name]
        return content

    @property
    def kind(self) -> dict[str, Any]:
        """What networks that differ in their depth alone have in common."""
        return {key: value for key, value in asdict(self).items() if key not in ("name", "depth")}


@dataclass(frozen=True)
class DataConfig:
    """What every data set has. A data set is chosen with data=NAME."""

    name: str
    places: ClassVar[tuple[str, ...]] = ()
    """Settings that say where the images lie, not which they are."""

    def result(self) -> dict[str, Any]:
        """The settings that say which images they are."""
        return {key: value for key, value in asdict(self).items() if key not in self.places}


@dataclass(frozen=True)
class OfficialConfig(DataConfig):
    """The official files of CIFAR-10, CIFAR-100 or SVHN."""

    dir: str | None
    download: bool
    url: str | None
    validation: int
    seed: int
    places = ("dir", "download", "url")

    def __post_init__(self) -> None:
        classes = 100 if self.name == "cifar100" else 10
        most = 46_580 if self.name == "svhn" else 50_000 - classes  # SVHN has 4,659 images of its rarest digit
        whole = self.validation % classes == 0 and 0 <= self.validation <= most
        rule = f"a multiple of {classes} from 0 to {most}, as many of each class"
        require(whole, "data.validation", self.validation, rule)


@dataclass(frozen=True)
class FolderConfig(DataConfig):
    """A user's own images, one folder a class, in train/ and test/. The folder is the data set, not a place of it."""

    dir: str | None
    image_size: int

    def __post_init__(self) -> None:
        require(bool(self.dir), "data.dir", self.dir, "name the folder that holds train/ and test/ with data.dir=PATH")
        within("data.image_size", self.image_size, 8, 1024)


@dataclass(frozen=True)
class ShapesConfig(DataConfig):
    """The embedded data set, generated."""

    seed: int
    image_size: int
    train_images: int
    test_images: int
    noise: float
    hint: float

    def __post_init__(self) -> None:
        within("data.image_size", self.image_size, 8, 1024)
        within("data.train_images", self.train_images, 10, 10_000_000)
        within("data.test_images", self.test_images, 10, 10_000_000)
        require(0 <= self.noise <= 1, "data.noise", self.noise, "a standard deviation from 0 to 1")
        require(0 <= self.hint <= 1, "data.hint", self.hint, "from 0 to 1")


DATA_CONFIGS: dict[str, type[DataConfig]] = {
    "cifar10": OfficialConfig,
    "cifar100": OfficialConfig,
    "svhn": OfficialConfig,
    "folder": FolderConfig,
    "shapes": ShapesConfig,
}


@dataclass(frozen=True)
class DataPlace:
    """For commands that read the settings of a run: where its images lie on this machine."""

    dir: str | None


@dataclass(frozen=True)
class RecipeConfig:
    """How a network is trained; durations are iterations."""

    name: str
    iterations: int
    batch_size: int
    lr: float
    drops: list[int]
    drop_factor: float
    momentum: float
    weight_decay: float
    warmup: str
    warmup_lr: float
    warmup_error: float
    pad: int
    flip: bool
    row_every: int
    evaluate_every: int

    def __post_init__(self) -> None:
        for name in ("iterations", "batch_size", "row_every", "evaluate_every"):
            within(f"recipe.{name}", getattr(self, name), 1, 10**9)
        multiple = f"must be a multiple of recipe.row_every={self.row_every}"
        require(self.evaluate_every % self.row_every == 0, "recipe.evaluate_every", self.evaluate_every, multiple)
        require(0 < self.lr < float("inf"), "recipe.lr", self.lr, "must be above 0")
        require(0 < self.warmup_lr < float("inf"), "recipe.warmup_lr", self.warmup_lr, "must be above 0")
        rising = sorted({drop for drop in self.drops if drop >= 1}) == list(self.drops)
        require(rising, "recipe.drops", self.drops, "iterations in rising order, such as [32000,48000]")
        require(0 < self.drop_factor <= 1, "recipe.drop_factor", self.drop_factor, "above 0 and at most 1")
        require(0 <= self.momentum < 1, "recipe.momentum", self.momentum, "from 0 to below 1")
        require(0 <= self.weight_decay < 1, "recipe.weight_decay", self.weight_decay, "from 0 to below 1")
        choices = "choose auto (residual networks of depth 110 and more), always or never"
        require(self.warmup in ("auto", "always", "never"), "recipe.warmup", self.warmup, choices)
        require(0 < self.warmup_error < 1, "recipe.warmup_error", self.warmup_error, "a fraction between 0 and 1")
        within("recipe.pad", self.pad, 0, 1024)


def start_id(path: str) -> str:
    """What stands for the weights in a file in names and settings: the first 12 digits of the file's SHA-256.

    Raises UserError where it cannot be read.
    """
    try:
        return file_digest(expand("start", path))[:12]
    except OSError as error:
        remedy = "resexp diagnose construction save=FOLDER and resexp export write some, and a run has checkpoint.pt"
        raise UserError(f"start={path}: {error.strerror}; name a file of weights ({remedy})") from error


def check_device(device: str, precision: str, threads: int) -> None:
    """The rules of every command with a device."""
    known = re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device) is not None
    require(known, "device", device, "choose auto, cpu, cuda, cuda:N or mps")
    one_of("precision", precision, "auto", "fp32", "tf32", "bf16", "fp16")
    within("threads", threads, 0, 4096)


def check_seed(seed: int, setting: str) -> None:
    """The rule of every seed."""
    require(0 <= seed < 2**31, setting, seed, "from 0 to 2147483647")


@dataclass
class Chosen:
    """Which networks, by label such as plain20 or plain20+depth8, and which seeds a command works on; None: all."""

    model: list[str] | None
    seed: list[int] | None

    def __post_init__(self) -> None:
        for setting, names in (("model", self.model), ("seed", self.seed)):
            require(names != [], setting, "[]", "name some, or leave it out")
        for seed in self.seed or []:
            check_seed(seed, "seed")


def check_margin(percent: float) -> None:
    """The rule of `margin`."""
    require(0 <= percent <= 100, "margin", percent, "percentage points from 0 to 100")


NOT_RECORDED = ("model", "data", "recipe", "seed", "start", "snapshots", "fresh", "plan", "json")
"""Settings that do not say how a run is executed: those of its result, what is kept, and requests for one session.

The file to start from is recorded as a place, where there is one; `ModelConfig.start` says what it holds.
"""


@dataclass(frozen=True)
class TrainSettings:
    """Root of `resexp train`: model, data, recipe and seed decide the result, the rest is how it is executed."""

    model: ModelConfig
    data: Any
    recipe: RecipeConfig
    seed: int
    start: str | None
    runs: str
    device: str
    precision: str
    engine: str
    deterministic: bool
    threads: int
    checkpoint_seconds: float
    snapshots: bool
    fresh: bool
    plan: bool
    json: bool

    def __post_init__(self) -> None:
        check_seed(self.seed, "seed")
        check_device(self.device, self.precision, self.threads)
        one_of("engine", self.engine, "auto", "eager", "compile", "graph", "compile+graph")
        require(self.checkpoint_seconds >= 0, "checkpoint_seconds", self.checkpoint_seconds, "must be 0 or more")
        data = vars(self.data) if isinstance(self.data, DataConfig) else {}
        for name, value in flatten({"runs": self.runs, "start": self.start, "data": data}).items():
            shown = printable(str(value))
            require(shown == str(value), name, shown, "has characters that cannot be shown; name it in plain UTF-8")

    def result(self) -> dict[str, Any]:
        """The settings that decide the result, nested, plain values."""
        return {
            "model": self.model.result(),
            "data": self.data.result(),
            "recipe": asdict(self.recipe),
            "seed": self.seed,
        }

    def execution(self) -> dict[str, Any]:
        """The settings that say how it is executed, and where its images lie."""
        names = [field.name for field in fields(TrainSettings) if field.name not in NOT_RECORDED]
        places = {key: getattr(self.data, key) for key in self.data.places}
        started = {"start": self.start} if self.start else {}
        return {**{name: getattr(self, name) for name in names}, **started, "data": places}

    def remark(self) -> str:
        """What is likely an oversight although it breaks no rule: drops after the last iteration, mirrored digits."""
        recipe = self.recipe
        late = [drop for drop in recipe.drops if drop >= recipe.iterations]
        remarks: list[str] = []
        if late:
            never = "the rate is never lowered" if late == recipe.drops else f"no drop at {', '.join(map(str, late))}"
            remarks.append(
                f"recipe.iterations={recipe.iterations}, recipe.drops={recipe.drops}: {never}; "
                "recipe.drops=[...] moves the drops, recipe=short8 shortens all of the schedule"
            )
        if self.data.name == "svhn" and recipe.flip:
            remarks.append("recipe.flip=true: half of the digits are mirrored; recipe.flip=false mirrors none")
        return "; ".join(remarks)


@dataclass(frozen=True)
class Config(TrainSettings):
    """All settings of one run, checked, and the directory that is its own."""

    labels: dict[str, str]
    """Short names of model, data and recipe: a preset and what differs from it, "paper+lr0.05"."""
    directory: Path

    def with_seed(self, seed: int) -> "Config":
        """The same run of another seed. Raises UserError for a number that is none."""
        return replace(self, seed=seed, directory=self.directory.with_name(f"seed{seed}"))

    def content(self) -> dict[str, Any]:
        """What config.yaml holds."""
        return {"labels": self.labels, "result": self.result(), "execution": self.execution()}


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"recipe": {"lr": 0.1}} -> {"recipe.lr": 0.1}."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The dotted keys in which two nested configurations differ."""
    a, b = flatten(one), flatten(other)
    return sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))


def with_data_dir(settings: TrainSettings, folder: str | None) -> TrainSettings:
    """The settings of a recorded run with its images in another folder; generated images lie in none."""
    if folder is None or not hasattr(settings.data, "dir"):
        return settings
    return replace(settings, data=replace(settings.data, dir=folder))


_types = cache(get_type_hints)


def typed(kind: type[Settings], values: dict[str, Any]) -> Settings:
    """Settings from a file, which may hold anything. Raises TypeError for a value of the wrong type."""
    for name, wanted in _types(kind).items():
        value = values.get(name)
        if get_origin(wanted) is list:
            right = isinstance(value, list) and all(type(one) in get_args(wanted) for one in value)
        else:
            choices = get_args(wanted) or (wanted,)
            right = wanted is Any or type(value) in choices or (type(value) is int and float in choices)
        if name in values and not right:
            raise TypeError(f"{name} is {value!r}"[:100])
    return kind(**values)


def recorded(result: dict[str, Any], execution: dict[str, Any]) -> TrainSettings:
    """The settings that a run's config.yaml holds. Raises UserError where they do not fit this program."""
    try:
        parts: dict[str, Any] = {
            "model": typed(ModelConfig, result["model"]),
            "data": typed(DATA_CONFIGS[result["data"]["name"]], result["data"] | execution["data"]),
            "recipe": typed(RecipeConfig, result["recipe"]),
            **dict.fromkeys(("snapshots", "fresh", "plan", "json"), False),
            "start": execution.get("start"),
        }
        return typed(TrainSettings, execution | parts | {"seed": result["seed"]})
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(f"its config.yaml does not fit this version of resexp ({error})") from error

"""The settings of a run: their types and their rules. Defaults live in conf/; no Hydra and no torch here.

A rule that is broken raises `UserError` with the setting's name and a remedy.
"""

import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from resexp.errors import UserError


def require(holds: bool, setting: str, value: object, rule: str) -> None:
    """Raise `UserError` unless the rule holds."""
    if not holds:
        raise UserError(f"{setting}={value}: {rule}")


@dataclass(frozen=True)
class ModelConfig:
    """One network of the study."""

    name: str
    depth: int
    residual: bool
    shortcut: str
    width: int
    norm: str
    linear: str = "default"
    """In the settings of a run only where it is not the default."""

    def __post_init__(self) -> None:
        below = max(8, self.depth - (self.depth - 2) % 6)
        neighbours = f"{below} or {below + 6}" if self.depth > 8 else "8"
        require(
            self.depth >= 8 and (self.depth - 2) % 6 == 0,
            "model.depth",
            self.depth,
            f"a depth is 6n + 2; the nearest are {neighbours}",
        )
        require(self.shortcut in ("A", "B", "C"), "model.shortcut", self.shortcut, "choose A, B or C")
        none = "a plain network has no shortcuts; leave it at A"
        require(self.residual or self.shortcut == "A", "model.shortcut", self.shortcut, none)
        require(self.width >= 1, "model.width", self.width, "must be 1 or more")
        require(self.norm in ("batch", "none"), "model.norm", self.norm, "choose batch or none")
        require(self.linear in ("default", "he"), "model.linear", self.linear, "choose default (PyTorch's) or he")


@dataclass(frozen=True)
class DataConfig:
    """What every data set has. A data set is chosen with data=NAME."""

    name: str


@dataclass(frozen=True)
class Cifar10Config(DataConfig):
    """The official CIFAR-10 files."""

    dir: str | None
    download: bool
    url: str | None
    validation: int
    seed: int

    def __post_init__(self) -> None:
        whole = self.validation % 10 == 0 and 0 <= self.validation < 50_000
        require(whole, "data.validation", self.validation, "a multiple of 10 from 0 to 49990, as many of each class")


@dataclass(frozen=True)
class FolderConfig(DataConfig):
    """A person's own images, one folder a class, in train/ and test/."""

    dir: str | None
    image_size: int

    def __post_init__(self) -> None:
        if self.dir is not None:  # the folder is the data set, the same one however its path is spelled
            object.__setattr__(self, "dir", str(Path(self.dir).expanduser().resolve()))
        require(self.image_size >= 8, "data.image_size", self.image_size, "must be 8 or more pixels")


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
        require(self.image_size >= 8, "data.image_size", self.image_size, "must be 8 or more pixels")
        require(self.train_images >= 10, "data.train_images", self.train_images, "must be 10 or more")
        require(self.test_images >= 10, "data.test_images", self.test_images, "must be 10 or more")
        require(0 <= self.noise <= 1, "data.noise", self.noise, "a standard deviation from 0 to 1")
        require(0 <= self.hint <= 1, "data.hint", self.hint, "from 0 to 1")


DATA_CONFIGS: dict[str, type[DataConfig]] = {"cifar10": Cifar10Config, "folder": FolderConfig, "shapes": ShapesConfig}


@dataclass(frozen=True)
class DataPlace:
    """For verbs that read the settings of a run: where its images lie on this machine."""

    dir: str | None


PLACES = {"cifar10": ("dir", "download", "url"), "folder": (), "shapes": ()}
"""Settings of a data set that say where it lies, not what it is."""


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
            value = getattr(self, name)
            require(value >= 1, f"recipe.{name}", value, "must be 1 or more")
        require(
            self.evaluate_every % self.row_every == 0,
            "recipe.evaluate_every",
            self.evaluate_every,
            f"must be a multiple of recipe.row_every={self.row_every}",
        )
        for name in ("lr", "warmup_lr"):
            value = getattr(self, name)
            require(0 < value < float("inf"), f"recipe.{name}", value, "must be above 0")
        require(
            all(drop >= 1 for drop in self.drops) and sorted(set(self.drops)) == list(self.drops),
            "recipe.drops",
            self.drops,
            "iterations in rising order, such as [32000,48000]",
        )
        require(0 < self.drop_factor <= 1, "recipe.drop_factor", self.drop_factor, "above 0 and at most 1")
        require(0 <= self.momentum < 1, "recipe.momentum", self.momentum, "from 0 to below 1")
        require(0 <= self.weight_decay < 1, "recipe.weight_decay", self.weight_decay, "from 0 to below 1")
        require(
            self.warmup in ("auto", "always", "never"),
            "recipe.warmup",
            self.warmup,
            "choose auto (residual networks of depth 110 and more), always or never",
        )
        require(0 < self.warmup_error < 1, "recipe.warmup_error", self.warmup_error, "a fraction between 0 and 1")
        require(self.pad >= 0, "recipe.pad", self.pad, "must be 0 or more pixels")


def check_device(device: str, precision: str, threads: int) -> None:
    """The rules that hold for every verb that computes."""
    known = re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device) is not None
    require(known, "device", device, "choose auto, cpu, cuda, cuda:N or mps")
    precisions = ("auto", "fp32", "tf32", "bf16", "fp16")
    require(precision in precisions, "precision", precision, "choose auto, fp32, tf32, bf16 or fp16")
    require(threads >= 0, "threads", threads, "0 (all cores) or more")


def check_seed(seed: int, setting: str) -> None:
    """The rule of every seed."""
    require(0 <= seed < 2**31, setting, seed, "from 0 to 2147483647")


def check_margin(percent: float) -> None:
    """The rule of `margin`."""
    require(0 <= percent <= 100, "margin", percent, "percentage points from 0 to 100")


NOT_RECORDED = ("model", "data", "recipe", "seed", "snapshots", "fresh", "plan")
"""Settings that do not say how a run is executed: what decides its result, what is kept, what is asked for once."""


@dataclass(frozen=True)
class TrainSettings:
    """Root of `resexp train`: model, data, recipe and seed decide the result, the rest is how it is executed."""

    model: ModelConfig
    data: Any
    recipe: RecipeConfig
    seed: int
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

    def __post_init__(self) -> None:
        check_seed(self.seed, "seed")
        check_device(self.device, self.precision, self.threads)
        engines = ("auto", "eager", "compile", "graph", "compile+graph")
        require(self.engine in engines, "engine", self.engine, "choose auto, eager, compile, graph or compile+graph")
        require(self.checkpoint_seconds >= 0, "checkpoint_seconds", self.checkpoint_seconds, "must be 0 or more")

    def result(self) -> dict[str, Any]:
        """The settings that decide the result, nested, plain values."""
        data = {key: value for key, value in asdict(self.data).items() if key not in PLACES[self.data.name]}
        model = asdict(self.model)
        if self.model.linear == "default":  # a run is the same run as before there was the setting
            del model["linear"]
        return {"model": model, "data": data, "recipe": asdict(self.recipe), "seed": self.seed}

    def remark(self) -> str:
        """What a person may have overlooked in settings that break no rule; empty if nothing."""
        recipe = self.recipe
        late = [drop for drop in recipe.drops if drop >= recipe.iterations]
        if not late:
            return ""
        never = "the rate is never lowered" if late == recipe.drops else f"no drop at {', '.join(map(str, late))}"
        return (
            f"recipe.iterations={recipe.iterations}, recipe.drops={recipe.drops}: {never}; "
            "recipe.drops=[...] moves the drops, recipe=short8 shortens all of the schedule"
        )

    def execution(self) -> dict[str, Any]:
        """The settings that say how it is executed."""
        names = [field.name for field in fields(TrainSettings)]
        own = {name: getattr(self, name) for name in names if name not in NOT_RECORDED}
        places = {key: value for key, value in asdict(self.data).items() if key in PLACES[self.data.name]}
        return {**own, "data": places}


@dataclass(frozen=True)
class Config(TrainSettings):
    """All settings of one run, checked, and the directory that is its own."""

    labels: dict[str, str]
    """Short names of model, data and recipe: a preset and what differs from it, "paper+lr0.05"."""
    directory: Path

    def content(self) -> dict[str, Any]:
        """What config.yaml holds."""
        return {"labels": self.labels, "result": self.result(), "execution": self.execution()}


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"recipe": {"lr": 0.1}} -> {"recipe.lr": 0.1}."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The dotted keys in which two nested configurations differ."""
    a, b = flatten(one), flatten(other)
    return sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))


def with_data_dir(settings: TrainSettings, folder: str | None) -> TrainSettings:
    """The settings of a recorded run with its images in another folder; images that are generated lie in none."""
    if folder is None or not hasattr(settings.data, "dir"):
        return settings
    return replace(settings, data=replace(settings.data, dir=folder))


def recorded(result: dict[str, Any], execution: dict[str, Any]) -> TrainSettings:
    """The settings that a run's config.yaml holds. Raises UserError where they no longer fit this program."""
    own = {name: value for name, value in execution.items() if name not in ("data", "directory")}
    try:
        kind = DATA_CONFIGS[result["data"]["name"]]
        places = dict.fromkeys(PLACES[result["data"]["name"]]) | execution.get("data", {})
        return TrainSettings(
            model=ModelConfig(**result["model"]),
            data=kind(**result["data"], **places),
            recipe=RecipeConfig(**result["recipe"]),
            seed=result["seed"],
            snapshots=False,
            fresh=False,
            plan=False,
            **own,
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(f"its config.yaml does not fit this version of resexp ({error})") from error

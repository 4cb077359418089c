"""From conf/ and a command line to checked settings. Hydra and OmegaConf do it; their errors are explained here."""

import argparse
import re
import traceback
from argparse import Namespace
from collections.abc import Generator, Iterable
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal import utils as hydra_utils
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType, ValueType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from resexp.config.naming import label, name_differences, run_name
from resexp.config.presets import GROUPS, PARTS, conf_dir, help_text, own_dir, presets, settings_named
from resexp.config.settings import (
    DATA_CONFIGS,
    USUAL,
    Config,
    FolderConfig,
    ModelConfig,
    TrainSettings,
    expand,
    one_of,
    start_id,
)
from resexp.errors import UserError, first_line

SWEEPER = "hydra_plugins.resexp.StudySweeper"
"""Hydra's name for `resexp.sweep.sweeper.StudySweeper`: it takes plugins under hydra_plugins only."""
OPTUNA = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
LAUNCHERS = {
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher": "parallel",
    "hydra_plugins.resexp.SlurmLauncher": "slurm",
    "hydra_plugins.resexp.StreamsLauncher": "streams",
}
"""Hydra's name for a launcher -> its module in resexp.sweep, which is also the extra to install for it."""

HYDRAS_OWN = {
    r"hydra\.(run|sweep)\b": "runs=PATH says where runs lie",
    r"hydra(/(job|hydra)_logging=(?!(none|disabled)$)|\.(job|hydra)_logging\b)": (
        "each run keeps its train.log, and 2>FILE keeps what a command says; hydra/job_logging=disabled says less"
    ),
    r"hydra/sweeper=(?!optuna$)": "resexp sets that itself; leave it out, or hydra/sweeper=optuna searches",
    r"hydra(\.(output_subdir|job)\b|=)": "resexp sets that itself; leave it out",
}
"""Settings with which Hydra writes files or folders of its own, changes directory or sweeps by itself -> the remedy."""
UNUSED = ("config_path", "config_name", "experimental_rerun", "hydra_help")
"""Options of Hydra that have no meaning here."""
NO_CHOICE = r"|null|true|false|~|[-+.\d][\d.e_-]*|\[.*\]"
"""Values that are no name of a file; Hydra answers them with a traceback."""
COMMAND_LINE = "command-line"
"""Hydra's name for a folder of settings that a command line adds."""
COMPOSING = ("config_loader_impl", "defaults_list")
"""Hydra's modules that make a configuration."""


class OptionParser(argparse.ArgumentParser):
    """Adds an option of Hydra 1.3 whose help becomes a text only when it is shown, which Python 3.14 refuses."""

    def _check_help(self, action: argparse.Action) -> None:
        """What Python 3.14 would do for each option."""


hydra_utils.argparse = SimpleNamespace(**vars(argparse) | {"ArgumentParser": OptionParser})  # pyright: ignore[reportPrivateImportUsage]

Settings = TypeVar("Settings")


_mode_in_files = Hydra.get_mode


def _mode(self: Hydra, config_name: str | None, overrides: list[str]) -> Any:
    """hydra.mode where a file may set it, an experiment or one of the user's own; else None, and -m alone decides.

    Hydra composes the whole configuration for this, a tenth of a second, and then once more.
    """
    if _only_ours(self) and all(re.match(r"(?!experiment=|hydra)[\w.]+=", word) for word in overrides):
        return None
    return _mode_in_files(self, config_name, overrides)


Hydra.get_mode = _mode


class Searched(SearchPathPlugin):
    """The folders of hydra.searchpath, which Hydra itself would search only for the words that name them."""

    folders: ClassVar[list[Path]] = []

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add them behind ours."""
        for folder in self.folders:
            search_path.append(COMMAND_LINE, f"file://{folder}")


CHOICES_ALONE = rf"({'|'.join(PARTS)})=[\w-]+|(?!({'|'.join(PARTS)}|experiment)=)\w+=.*"
"""A word that chooses a preset, or sets what is in none, such as the seed."""
_presets: dict[tuple[str, str, str], DictConfig] = {}
"""By folders of conf/, group and name: composing takes a tenth of a second, and the runs of a sweep share presets."""


def register(**chosen: Any) -> None:
    """Let Hydra know the sweeper of conf/train.yaml, the settings that `without_sweeps` chose, and hydra.searchpath."""
    sweeper = {"_target_": SWEEPER, "max_batch_size": None, "params": None}
    ConfigStore.instance().store(name="study", group="hydra/sweeper", node=sweeper)
    ConfigStore.instance().store(name="chosen", node=chosen)
    Plugins.instance().register(Searched)


def settings_of(cfg: DictConfig, schema: type[Settings], prefix: str = "") -> Settings:
    """A composed configuration as a dataclass whose types and rules hold. Raises UserError naming the setting."""
    read = ""
    try:
        for name, kind in get_type_hints(schema).items():
            read = name
            value, several = cfg.get(name), any(get_origin(one) is list for one in (kind, *get_args(kind)))
            if OmegaConf.is_list(value) and not several:
                raise UserError(f"{prefix}{name}: takes one value, not {len(value)}")
            if several and value is not None and not OmegaConf.is_list(value):
                cfg = cfg.copy()
                cfg[name] = [value]  # one for a list
        typed = OmegaConf.structured(schema)
        for node in (typed, *(typed._get_node(key) for key in typed)):
            OmegaConf.set_readonly(node, False)  # OmegaConf makes frozen classes read-only
        settings = OmegaConf.to_object(OmegaConf.merge(typed, cfg))
    except OmegaConfBaseException as error:
        raise UserError(prefix + explain(error, read)) from error
    assert isinstance(settings, schema)
    return settings


def to_config(cfg: DictConfig) -> Config:
    """Check a composed configuration, and name it and its directory. Needs Hydra initialised.

    Raises UserError for a value of the wrong type, a broken rule, a preset whose name is not its file's, or a file to
    start from that is not there.
    """
    settings = settings_of(cfg, TrainSettings)
    one_of("data.name", cfg.data.get("name"), *DATA_CONFIGS)
    data = settings_of(cfg.data, DATA_CONFIGS[cfg.data.name], "data.")
    if isinstance(data, FolderConfig):  # the same data set however its path is spelled
        data = replace(data, dir=str(expand("data.dir", str(data.dir)).resolve()))
    start = start_id(settings.start) if settings.start else ""
    settings = replace(settings, data=data, model=replace(settings.model, start=start))
    result = settings.result()
    presets = presets_of(result)
    result["model"] |= {key: USUAL[key] for key in presets["model"].keys() - result["model"].keys()}
    folder = ""
    if isinstance(data, FolderConfig):  # the folder is the data set, and has no default to differ from
        folder = name_differences({"dir": Path(str(data.dir)).name}).replace("dir", "", 1)
        presets["data"]["dir"] = data.dir
    labels = {group: label(result[group], preset) for group, preset in presets.items()}
    labels["data"] += folder
    path = Path(settings.runs, data.name + folder, settings.recipe.name, run_name(result, presets))
    return Config(**vars(settings), labels=labels, directory=path / f"seed{settings.seed}")


def _only_ours(hydra: Hydra) -> bool:
    """Whether no folder but conf/ is searched."""
    return all(place.provider != COMMAND_LINE for place in hydra.config_loader.get_search_path().get_path())


def keep_presets(cfg: DictConfig, words: Iterable[str]) -> None:
    """Remember the presets of a configuration, where the `words` that it is composed of choose them and change none."""
    with _hydra() as hydra:
        if _only_ours(hydra) and all(re.fullmatch(CHOICES_ALONE, word) for word in words):
            place = str(hydra.config_loader.get_search_path())
            for group in PARTS:
                _presets.setdefault((place, group, cfg[group].name), cfg[group])


def presets_of(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The presets that model, data and recipe are named after, as they stand in conf/, --config-dir included.

    Raises UserError for a name that no preset has.
    """
    names = {group: result[group]["name"] for group in PARTS}
    with _hydra() as hydra:
        place = str(hydra.config_loader.get_search_path())
        due = [(group, name) for group, name in names.items() if (place, group, name) not in _presets]
        for group, name in due:
            if name not in hydra.config_loader.get_group_options(group):
                raise UserError(f"{group}.name={name}: a preset's name is the name of its file in conf/{group}/")
        composed = hydra_compose("train", [f"{group}={name}" for group, name in due]) if due else {}
        _presets.update({(place, group, name): composed[group] for group, name in due})
    found = {group: {key: _presets[place, group, names[group]].get(key) for key in result[group]} for group in PARTS}
    own = _presets[place, "model", names["model"]]
    found["model"] |= {key: own[key] for key, usual in USUAL.items() if own.get(key, usual) != usual}
    return found


def model_preset(name: str) -> dict[str, Any]:
    """The settings of a network's preset as Hydra composes them. Raises UserError where it cannot."""
    with _hydra():
        return vars(settings_of(hydra_compose("train", [f"model={name}"]).model, ModelConfig, "model."))


@contextmanager
def _hydra() -> Generator[Hydra, None, None]:
    """The Hydra of this process: the one at work, else one for this block. Its errors become UserErrors."""
    register()
    there = GlobalHydra.instance().is_initialized()
    try:
        with nullcontext() if there else initialize_config_dir(str(conf_dir()), version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            yield hydra
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain_composition(error)) from error


def compose(*overrides: str) -> Config:
    """The settings that `resexp train OVERRIDES` would use: compose("model=resnet20", "data=shapes").

    Raises UserError for an unknown setting or choice, a value of the wrong type, or a broken rule.
    """
    if not GlobalHydra.instance().is_initialized():
        _presets.clear()  # files may have been edited since
    _, words = own_dirs(None, list(overrides))
    with _hydra():
        cfg = hydra_compose("train", words)
        keep_presets(cfg, words)
        return to_config(cfg)


def options_of(arguments: list[str]) -> tuple[Namespace, list[str]]:
    """Hydra's options on a command line, and the words that are none. Raises UserError for one without its value."""
    parser = get_args_parser()
    parser.error = _refuse
    return parser.parse_known_args(arguments)


def help_for(arguments: list[str], verb: str) -> str:
    """The help of a verb, with the presets of one's own. Raises UserError as `ordered` does."""
    options, unknown = options_of(arguments)
    own, _ = own_dirs(options.config_dir, [*options.overrides, *unknown])
    return help_text(verb, own)


def own_dirs(config_dir: str | None, words: list[str]) -> tuple[list[Path], list[str]]:
    """The folders of settings of one's own, of --config-dir and hydra.searchpath, and the words without the latter.

    What Hydra composes from now on may be in them. Raises UserError as `own_dir` does.
    """
    own = [own_dir("--config-dir", config_dir)] if config_dir else []
    given = [word for word in words if re.match(r"\+*hydra\.searchpath=", word)]
    Searched.folders = []
    for word in given:
        places: Any = None
        with suppress(HydraException):
            places = OverridesParser.create().parse_override(word).value()
        if not isinstance(places, list) or not all(isinstance(place, str) for place in places):
            raise UserError(f"{word}: a list of folders with settings of your own, such as [mine,pkg://package]")
        for place in places:
            folder = own_dir("hydra.searchpath", place, own).resolve()
            Searched.folders.append(folder)
            own.append(folder)
    return own, [word for word in words if word not in given]


def ordered(arguments: list[str], verb: str) -> list[str]:
    """The words of a command line, options first, as Hydra wants them.

    Raises UserError where Hydra would answer with a page or not at all: a word that is neither a setting nor an option,
    a sweep of a verb that does not train, a folder of settings that cannot be used.
    """
    options, unknown = options_of(arguments)
    settings = [
        *options.overrides,
        *unknown,
        *(f"--{name.replace('_', '-')}" for name in UNUSED if vars(options)[name]),
    ]
    own, settings = own_dirs(options.config_dir, settings)
    for word in settings:
        name, given, value = word.lstrip("+~").partition("=")
        if word.startswith("-") or not name or "@" in name or (not given and not word.startswith("~")):
            no_option = "no such option; " if word.startswith("-") else ""
            raise UserError(f"{word}: {no_option}settings are NAME=VALUE, and resexp {verb} --help shows them")
        for setting, remedy in HYDRAS_OWN.items():
            if re.match(setting, f"{name}={value}"):
                raise UserError(f"{word}: {remedy}")
        if verb == "train" and name in GROUPS and given and re.fullmatch(NO_CHOICE, value):
            choices = ", ".join(path.stem for path in presets(name, own))
            raise UserError(f"{word}: no such choice; choose {choices}, or leave it out")
    if verb != "train" and (options.multirun or any(word.startswith("hydra.mode=") for word in settings)):
        raise UserError(f"-m: only resexp train sweeps; give resexp {verb} one value for each setting")
    if options.resolve and not options.cfg:
        raise UserError("--resolve: says how settings are shown; add --cfg job")
    tasks = [f"--{task}" for task in ("run", "multirun", "cfg", "info") if getattr(options, task)]
    if len(tasks) > 1:
        raise UserError(f"{' '.join(tasks)}: ask for one of these at a time")
    given = [word for word in arguments if word not in [*options.overrides, *unknown, "--"]]
    if verb != "train":
        settings = without_sweeps(settings, verb)
    return [*given, *(["--"] if given else []), *settings]  # else an option takes the first setting for its value


def without_sweeps(words: list[str], verb: str) -> list[str]:
    """Settings of a verb that does not train: of several values (seed=0,1) it takes a list.

    What Hydra would take for the name of a file in conf/model/ is registered instead of being left among the words.
    """
    parser, kept, chosen = OverridesParser.create(), list[str](), dict[str, Any]()
    for word in words:
        with suppress(OverrideParseException):  # Hydra will say what is wrong with it
            if parser.parse_overrides([word])[0].value_type == ValueType.SIMPLE_CHOICE_SWEEP:
                word = word.replace("=", "=[", 1) + "]"
            (override,) = parser.parse_overrides([word])
            name = override.key_or_group
            if override.type == OverrideType.CHANGE and name in GROUPS and name in settings_named(verb):
                chosen[name] = override.value()
                continue
        kept.append(word)
    register(**chosen)
    return kept


def _refuse(message: str) -> NoReturn:
    """In place of argparse's page and exit."""
    raise UserError(f"{message}; resexp --help shows what there is")


def is_composing(error: BaseException) -> bool:
    """Whether Hydra raised it while it made a configuration of a command line."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    return any(file.parts[-3:-1] == ("hydra", "_internal") and file.stem in COMPOSING for file in files)


def no_such_setting(key: str, verb: str) -> str:
    """The line for an unknown setting."""
    known = settings_named(verb)
    group = key.partition(".")[0]
    if key in known:  # of another preset than the one that was chosen
        return f"{key}: not a setting of the {group} that is chosen; {group}=NAME chooses another"
    alike = [name for name in sorted(known) if name.rpartition(".")[2] == key.rpartition(".")[2]]
    alike = alike or get_close_matches(key, known, 2, 0.75)
    remedy = f"did you mean {' or '.join(alike)}?" if alike else f"resexp {verb} --help lists the settings"
    return f"{key}: no such setting; {remedy}"


def not_installed(choice: str, extra: str) -> str:
    """The line for a launcher or sweeper whose extra is missing."""
    return f"hydra/{choice}: not installed; in a checkout, pip install -e '.[{extra}]'"


def explain(error: OmegaConfBaseException, read: str = "") -> str:
    """One line for an error of OmegaConf: the setting, or the one that was read, then what is wrong with it."""
    what = str(error.msg or error).splitlines()[0]
    if isinstance(error, MissingMandatoryValue):
        what = f"not given; say {error.full_key}=..."
    elif re.fullmatch(r"Key '.*' not in '.*'", what):
        what = "no such setting; --help lists the settings"
    elif "is not a ListConfig" in what:
        what = "not a list in brackets, such as [1,2]"
    elif "NoneType is not a subclass" in what:
        what = "null cannot stand there; leave it out"
    elif wrong := re.fullmatch(r"Value '(.*)' of type '.*' could not be converted to (Float|Integer)", what):
        what = f"'{wrong[1]}' is not a {'whole ' if wrong[2] == 'Integer' else ''}number"
    setting = error.full_key or read
    return f"{setting}: {what}" if setting else what


def explain_composition(error: Exception, verb: str = "train") -> str:
    """One line for an error of Hydra: the setting that it refuses, and what can stand there."""
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as NAME=VALUE; put it in quotes if it has brackets, commas or spaces"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        for extra, plugin in (("parallel", "launcher=joblib"), ("optuna", "sweeper=optuna")):
            if f"{group}={choice}" == f"hydra/{plugin}":
                return not_installed(plugin, extra)
        deeper = "; model.depth=N gives any other depth" if group == "model" else ""
        return f"{group}={choice}: no such choice; choose {', '.join(error.options)}{deeper}"
    first = first_line(error)
    if several := re.match(r"Ambiguous value for argument '(.*)'", first):
        name = several[1].lstrip("+~").partition("=")[0]
        if name not in settings_named(verb) and "hydra" not in name:
            return no_such_setting(name, verb)
        remedy = "several values are a sweep; add -m" if verb == "train" else "give one value, or a list in brackets"
        return f"{several[1]}: {remedy}"
    if unknown := re.match(r"Could not override '([^']+)'", first):
        return no_such_setting(unknown[1], verb)
    cause = error.__cause__ or error
    return explain(cause) if isinstance(cause, OmegaConfBaseException) else first

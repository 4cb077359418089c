"""From conf/ and a command line to checked settings: with cli.py, sweep.py and verbs/, the rooms that know Hydra."""

import re
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from resexp.config.naming import label, name_differences, run_name
from resexp.config.presets import conf_dir, settings_named
from resexp.config.settings import DATA_CONFIGS, Config, FolderConfig, TrainSettings
from resexp.errors import UserError

SWEEPER = "hydra_plugins.resexp.StudySweeper"
"""Name of `sweep.StudySweeper` for Hydra, which takes plugins under hydra_plugins only."""
LAUNCHERS = {
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher": "parallel",
    "hydra_plugins.resexp.SlurmLauncher": "slurm",
}
"""Launchers as configurations name them, and the room that has ours and the extra that brings theirs, of one name."""

Settings = TypeVar("Settings")


def register() -> None:
    """Let Hydra know the sweeper that conf/train.yaml names."""
    sweeper = {"_target_": SWEEPER, "max_batch_size": None, "params": None}
    ConfigStore.instance().store(name="study", group="hydra/sweeper", node=sweeper)


def settings_of(cfg: DictConfig, schema: type[Settings], prefix: str = "") -> Settings:
    """A composed configuration as a dataclass whose types and rules hold. Raises UserError naming the key."""
    typed = OmegaConf.structured(schema)
    for node in (typed, *(typed._get_node(key) for key in typed)):
        OmegaConf.set_readonly(node, False)  # OmegaConf takes a frozen class to mean that it may not be filled
    try:
        settings = OmegaConf.to_object(OmegaConf.merge(typed, cfg))
    except OmegaConfBaseException as error:
        raise UserError(prefix + explain(error)) from error
    assert isinstance(settings, schema)
    return settings


def to_config(cfg: DictConfig) -> Config:
    """Check a composed configuration and find the names and the directory that are its own. Needs Hydra initialised.

    Raises UserError for a value of the wrong type, a broken rule, or a preset whose name is not its file's.
    """
    settings = settings_of(cfg, TrainSettings)
    kind = DATA_CONFIGS.get(cfg.data.get("name"))
    if kind is None:
        raise UserError(f"data.name={cfg.data.get('name')}: choose {', '.join(DATA_CONFIGS)}")
    data = settings_of(cfg.data, kind, "data.")
    settings = replace(settings, data=data)
    result = settings.result()
    presets = _presets(result)
    folder = ""
    if isinstance(data, FolderConfig):  # the folder is the data set, and has no default to differ from
        if data.dir is None:
            raise UserError("data.dir: not given; name the folder that holds train/ and test/ with data.dir=PATH")
        folder = name_differences({"dir": Path(data.dir).name}).replace("dir", "", 1)
        presets["data"]["dir"] = data.dir
    labels = {group: label(result[group], preset) for group, preset in presets.items()}
    labels["data"] += folder
    path = Path(settings.runs, data.name + folder, settings.recipe.name, run_name(result, presets))
    return Config(**vars(settings), labels=labels, directory=path / f"seed{settings.seed}")


def _presets(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The presets that model, data and recipe are named after, as they stand in conf/, --config-dir included."""
    names = {group: result[group]["name"] for group in ("model", "data", "recipe")}
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    composed = _composed_presets(hydra, tuple(names.items()))
    return {group: {key: composed[group][key] for key in result[group]} for group in names}


@lru_cache(maxsize=64)
def _composed_presets(hydra: Hydra, names: tuple[tuple[str, str], ...]) -> DictConfig:
    """Composing takes a tenth of a second, and the runs of a sweep share their presets."""
    for group, name in names:
        if name not in hydra.config_loader.get_group_options(group):
            raise UserError(f"{group}.name={name}: a preset's name is the name of its file in conf/{group}/")
    return hydra_compose("train", [f"{group}={name}" for group, name in names])


def compose(*overrides: str) -> Config:
    """The settings that `resexp train OVERRIDES` would use: compose("model=resnet20", "data=shapes").

    Raises UserError for what there is not, a value of the wrong type, or a broken rule.
    """
    register()
    try:
        if GlobalHydra.instance().is_initialized():
            return to_config(hydra_compose("train", list(overrides)))
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return to_config(hydra_compose("train", list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain_composition(error)) from error


def check_words(arguments: list[str], verb: str) -> None:
    """Raise UserError for a word that is neither a setting nor an option of Hydra's, which would explain at length."""
    options, unknown = get_args_parser().parse_known_args(arguments)
    for word in [*unknown, *options.overrides]:
        if word.startswith("-"):
            raise UserError(f"{word}: no such option; settings are NAME=VALUE, and resexp {verb} --help shows them")
        if "=" not in word and not word.startswith("~"):
            raise UserError(f"{word}: settings are NAME=VALUE, and resexp {verb} --help shows them")


def no_such_setting(key: str, verb: str = "train") -> str:
    """The line for a key that no setting has."""
    known = settings_named(verb)
    alike = [name for name in sorted(known) if name.rpartition(".")[2] == key.rpartition(".")[2]]
    alike = alike or get_close_matches(key, known, 2, 0.75)
    return f"{key}: no such setting; " + (
        f"did you mean {' or '.join(alike)}?" if alike else f"resexp {verb} --help shows those there are"
    )


def not_installed(launcher: str, extra: str) -> str:
    """The line for a launcher whose extra is missing."""
    return f"hydra/launcher={launcher}: not installed; in a checkout, pip install -e '.[{extra}]'"


def explain(error: OmegaConfBaseException) -> str:
    """One line for an error of OmegaConf: the setting, then what is wrong with its value."""
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}: not given; say {error.full_key}=..."
    what = str(error.msg or error).splitlines()[0]
    if re.fullmatch(r"Key '.*' not in '.*'", what):
        return f"{error.full_key}: no such setting; --help shows those there are"
    if "is not a ListConfig" in what:
        what = "not a list in brackets, such as [1,2]"
    if wrong := re.fullmatch(r"Value '(.*)' of type '.*' could not be converted to (Float|Integer)", what):
        what = f"'{wrong[1]}' is not a {'whole ' if wrong[2] == 'Integer' else ''}number"
    return f"{error.full_key}: {what}" if error.full_key else what


def explain_composition(error: Exception, verb: str = "train") -> str:
    """One line for an error of Hydra: the setting that cannot be, and what can."""
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as NAME=VALUE; put it in quotes if it has brackets, commas or spaces"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        if (group, choice) == ("hydra/launcher", "joblib"):
            return not_installed(choice, "parallel")
        deeper = "; model.depth=N gives any other depth" if group == "model" else ""
        return f"{group}={choice}: no such choice; choose {', '.join(error.options)}{deeper}"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OmegaConfBaseException):
        cause = cause.__cause__
    first = str(error).strip().splitlines()[0]
    several = re.match(r"Ambiguous value for argument '(.*)'", first)
    if several:
        return f"{several[1]}: several values are a sweep; add -m"
    unknown = re.match(r"Could not override '([^']+)'", first)
    if unknown:
        return no_such_setting(unknown[1], verb)
    return explain(cause) if isinstance(cause, OmegaConfBaseException) else first

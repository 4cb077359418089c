"""The YAML files of conf/: where they lie, which settings they know, and the help they give. No Hydra here."""

import re
from pathlib import Path
from typing import Any

import yaml

from resexp.config.settings import flatten
from resexp.formatting import natural

GROUPS = ("model", "data", "recipe", "experiment")
"""Settings of `resexp train` that name a file in a folder of conf/."""


def conf_dir() -> Path:
    """The folder of YAML files: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent.parent
    packaged = here / "conf"
    return packaged if packaged.is_dir() else here.parent / "conf"


def presets(group: str) -> list[Path]:
    """The files of one group, plain20 before plain110."""
    return sorted((conf_dir() / group).glob("*.yaml"), key=lambda path: natural(path.stem))


def content_of(path: Path) -> dict[str, Any]:
    """What a file sets."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def settings_named(verb: str) -> set[str]:
    """The settings of a command, those of all its presets included."""

    def names(path: Path, prefix: str = "") -> set[str]:
        return {prefix + name for name in flatten(content_of(path)) if not re.match(r"(defaults|hydra)\b", name)}

    known = names(conf_dir() / f"{verb}.yaml")
    for group in GROUPS if verb == "train" else ():
        known |= {group}.union(*(names(path, f"{group}.") for path in presets(group)))
    return known


def help_text(verb: str) -> str:
    """The file of a command, read as help: its heading, and its settings with their comments; so for its presets."""
    path = conf_dir() / f"{verb}.yaml"
    head, _, body = path.read_text(encoding="utf-8").partition("defaults:\n")
    about = "\n".join(line.removeprefix("# ").rstrip() for line in head.splitlines()).replace("\n ", "\n\n ", 1)
    settings = body.partition("\n\n")[2].partition("\nhydra:")[0].strip()
    last = f"setting=value changes one. All of this stands in {path}."
    parts = [about, "Settings and their defaults:", settings, last]
    if verb == "train":
        defaults = [one for one in content_of(path)["defaults"] if isinstance(one, dict)]
        chosen = dict(pair for one in defaults for pair in one.items())
        for group in GROUPS:
            parts.append(f"{group}=NAME: {', '.join(preset.stem for preset in presets(group))}")
            if chosen[group]:
                text = (conf_dir() / group / f"{chosen[group]}.yaml").read_text(encoding="utf-8").strip()
                parts[-1] += f"\nThe settings of {chosen[group]}:\n\n" + re.sub("^(?!#)", f"{group}.", text, flags=re.M)
    return "\n\n".join(parts)

"""The YAML files of conf/: where they lie, which settings they know, and what they say to a person. No Hydra here."""

import re
from pathlib import Path
from typing import Any

import yaml

from resexp.config.settings import flatten

GROUPS = ("model", "data", "recipe", "experiment")
"""Settings of `resexp train` that name a file in a folder of conf/."""
HYDRAS_OWN = ("defaults", "hydra")
"""Keys of a file that are no settings."""


def conf_dir() -> Path:
    """The folder of YAML files: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent.parent
    packaged = here / "conf"
    return packaged if packaged.is_dir() else here.parent / "conf"


def presets(group: str) -> list[Path]:
    """The files of one group, plain20 before plain110."""
    paths = (conf_dir() / group).glob("*.yaml")
    return sorted(paths, key=lambda path: [part.zfill(9) for part in re.split(r"(\d+)", path.stem)])


def content_of(path: Path) -> dict[str, Any]:
    """What a file sets."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def settings_named(verb: str) -> set[str]:
    """The names of a verb's settings, those of all its presets included."""

    def names(path: Path, prefix: str = "") -> set[str]:
        return {prefix + name for name in flatten(content_of(path)) if name.partition(".")[0] not in HYDRAS_OWN}

    known = names(conf_dir() / f"{verb}.yaml")
    for group in GROUPS if verb == "train" else ():
        known |= {group}.union(*(names(path, f"{group}.") for path in presets(group)))
    return known


def help_text(verb: str) -> str:
    """What a verb's file says of itself and its settings; for `train` also those of its presets."""
    path = conf_dir() / f"{verb}.yaml"
    head, _, body = path.read_text(encoding="utf-8").partition("defaults:\n")
    about = "\n".join(line.removeprefix("# ").rstrip() for line in head.splitlines()).replace("\n ", "\n\n ", 1)
    settings = body.partition("\n\n")[2].partition("\nhydra:")[0].strip()
    last = f"setting=value changes one. All of this stands in {path}."
    parts = [about, "Settings and their defaults:", settings, last]
    if verb == "train":
        chosen = {
            group: name for one in content_of(path)["defaults"] if isinstance(one, dict) for group, name in one.items()
        }
        for group in GROUPS:
            names = ", ".join(preset.stem for preset in presets(group))
            parts.append(f"{group}=NAME: {names}")
            if chosen[group]:
                text = (conf_dir() / group / f"{chosen[group]}.yaml").read_text(encoding="utf-8").strip()
                parts[-1] += f"\nThe settings of {chosen[group]}:\n\n" + re.sub("^(?!#)", f"{group}.", text, flags=re.M)
    return "\n\n".join(parts)

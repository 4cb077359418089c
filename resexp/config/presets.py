"""The YAML files of conf/: where they lie, which settings they know, and the help they give. No Hydra here."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from resexp.config.settings import flatten
from resexp.errors import UserError
from resexp.formatting import natural

GROUPS = ("model", "data", "recipe", "experiment")
"""Settings of `resexp train` that name a file in a folder of conf/."""
PARTS = ("data", "recipe", "model")
"""Parts of a run's settings that have the name of a preset, in the order of its folders."""


def conf_dir() -> Path:
    """The folder of YAML files: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent.parent
    packaged = here / "conf"
    return packaged if packaged.is_dir() else here.parent / "conf"


def own_dir(option: str, place: str, before: Sequence[Path] = ()) -> Path:
    """A folder of settings that an option names, as Hydra names folders: a path, file://PATH or pkg://PACKAGE.

    Raises UserError where it is not there, or has a file that one of ours or of the folders `before` it would hide.
    """
    package = place.removeprefix("pkg://")
    own = Path(place.removeprefix("file://"))
    if package != place:
        try:
            found = find_spec(package)
        except Exception:  # finding a part of a package runs the package
            found = None
        own = Path(*((found and found.submodule_search_locations) or [place])[:1])
    if not own.is_dir():
        raise UserError(f"{option}={place}: no such folder; name one with model/, recipe/ or experiment/")
    for path in sorted(one.relative_to(own) for one in own.rglob("*.yaml")):
        if (conf_dir() / path).exists():
            raise UserError(f"{option}={place}: resexp has a {path} itself; rename yours")
        for other in before:
            if (other / path).exists() and not other.samefile(own):
                raise UserError(f"{option}={place}: there is a {path} in {other}, too; rename one")
    return own


def presets(group: str, own: Sequence[Path] = ()) -> list[Path]:
    """The files of one group, plain20 before plain110; those in folders of one's own as well."""
    files = chain(*((folder / group).glob("*.yaml") for folder in (conf_dir(), *own)))
    return sorted(files, key=lambda path: natural(path.stem))


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


def help_text(verb: str, own: Sequence[Path] = ()) -> str:
    """The file of a command, read as help: its heading, and its settings with their comments; so for its presets.

    Those in folders of one's own are named beside ours.
    """
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
            parts.append(f"{group}=NAME: {', '.join(preset.stem for preset in presets(group, own))}")
            if chosen[group]:
                text = (conf_dir() / group / f"{chosen[group]}.yaml").read_text(encoding="utf-8").strip()
                parts[-1] += f"\nThe settings of {chosen[group]}:\n\n" + re.sub("^(?!#)", f"{group}.", text, flags=re.M)
    return "\n\n".join(parts)

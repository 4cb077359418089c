"""Names for configurations: a preset and what differs from it; never one name for two configurations."""

import re
from typing import Any

from resexp.config.settings import differing, flatten
from resexp.system.files import digest

MAX_NAME = 120
"""Characters of differences beyond which a digest stands for the rest (file systems allow names of 255)."""


def name_differences(differences: dict[str, Any]) -> str:
    """{"recipe.lr": 0.05} -> "+lr0.05", in characters without a meaning to Hydra's command line and file systems."""
    plain = ""
    for key, value in sorted(differences.items()):
        group, _, leaf = key.rpartition(".")
        values = value if isinstance(value, list) else [value]
        shown = "-".join(str(one).lower() if isinstance(one, bool) else str(one) for one in values)
        plain += f"+{'data_' if group == 'data' else ''}{leaf}{shown}"
    safe = re.sub(r"[^A-Za-z0-9._+-]", "_", plain)
    if safe == plain and len(plain) <= MAX_NAME:
        return plain
    return f"{safe[: MAX_NAME - 13]}+{digest(repr(sorted(differences.items())))[:12]}"


def run_name(result: dict[str, Any], presets: dict[str, Any]) -> str:
    """The network's preset and what differs from all presets: "plain56+lr0.05"."""
    flat = flatten(result)
    changed = {key: flat[key] for key in differing(result, presets) if key != "seed"}
    return result["model"]["name"] + name_differences(changed)


def label(part: dict[str, Any], preset: dict[str, Any]) -> str:
    """The name of a model, a recipe or a data set: "paper", "paper+lr0.05"."""
    return part["name"] + name_differences({key: part[key] for key in differing(part, preset)})


def short_name(key: str) -> str:
    """The last part of a dotted setting; of data.seed all, since `seed` alone is a run's own."""
    leaf = key.rpartition(".")[2]
    return key if leaf == "seed" else leaf


def value_text(value: Any) -> str:
    """A value as a command line takes it: [4000,6000], null, true."""
    if isinstance(value, list):
        return f"[{','.join(map(value_text, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

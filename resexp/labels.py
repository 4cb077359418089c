"""Short names for what a configuration is: its preset and what differs from it, never the same for two contents."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from resexp.config import conf_dir, name_differences


def preset(group: str, name: str) -> dict[str, Any]:
    """The values of conf/GROUP/NAME.yaml and of the presets it starts from; nothing where there is no such file."""
    try:
        content = yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    values: dict[str, Any] = {}
    for base in content.pop("defaults", []):
        if isinstance(base, str) and base != "_self_":
            values |= preset(group, base)
    return values | content


def model_preset(name: str) -> dict[str, Any]:
    """A network's preset on top of what conf/train.yaml says of all networks."""
    own = preset("model", name)
    return preset("", "train").get("model", {}) | own if own else {}


def content_key(content: Any) -> str:
    """A text that is equal for equal contents."""
    return json.dumps(content, sort_keys=True, default=str)


def label(group: str, content: dict[str, Any]) -> str:
    """A preset's name and, behind it, what differs from the preset, as in a run's directory: "paper+lr0.05"."""
    name = str(content["name"])
    base = model_preset(name) if group == "model" else preset(group, name)
    changed = {key: value for key, value in content.items() if base and base.get(key) != value}
    folder = changed.pop("dir", None)
    place = f"+{name_differences({'dir': Path(str(folder)).name})[4:]}" if folder else ""
    return name + place + name_differences({f"{group}.{key}": value for key, value in changed.items()})


def distinct_labels(group: str, contents: Iterable[dict[str, Any]]) -> dict[str, str]:
    """A label for each content by its `content_key`; contents whose labels are equal get a digest behind them."""
    labels = {content_key(content): label(group, content) for content in contents}
    counts = Counter(labels.values())
    return {
        key: name if counts[name] == 1 else f"{name}+{hashlib.sha256(key.encode()).hexdigest()[:8]}"
        for key, name in labels.items()
    }

"""The commands that make a group's finished runs once more, with the arithmetic they were made in."""

from functools import cache
from typing import Any

from resexp.analysis.study import Group, StudyRun
from resexp.config.compose import compose
from resexp.config.settings import differing, flatten
from resexp.errors import UserError


def commands(group: Group) -> list[str]:
    """One sweep for all runs of the same seeds and settings."""
    sweeps: dict[tuple[str, str], list[str]] = {}
    for network in group.networks:
        alike: dict[str, list[StudyRun]] = {}
        for run in network.finished:
            alike.setdefault(arithmetic(run) + changes(run.result), []).append(run)
        for how, runs in alike.items():
            seeds = ",".join(str(run.seed) for run in runs)
            sweeps.setdefault((seeds, how), []).append(runs[0].result["model"]["name"])
    return [
        f"resexp train {'-m ' if len(names) > 1 or ',' in seeds else ''}model={','.join(names)} "
        f"data={group.data_settings['name']} recipe={group.recipe_settings['name']} seed={seeds}{how}"
        for (seeds, how), names in sweeps.items()
    ]


def arithmetic(run: StudyRun) -> str:
    """The overrides for what a run was computed on and in, so far as all its sessions agree; threads on a CPU only."""
    sessions = run.record.sessions
    found = {key: {session.get(key) for session in sessions} for key in ("device", "threads", "precision")}
    wanted = ("device", "threads", "precision") if found["device"] == {"cpu"} else ("precision",)
    return "".join(f" {key}={value}" for key in wanted if len(found[key]) == 1 for value in found[key] if value)


def changes(result: dict[str, Any]) -> str:
    """The overrides that make a run's settings of the presets that they are named after."""
    preset = _composed(*(f"{part}={result[part]['name']}" for part in ("model", "data", "recipe")))
    if preset is None:
        return " # and the settings of config.yaml, which no preset of this version has"
    flat = flatten(result)
    return "".join(f" {key}={_value(flat[key])}" for key in differing(result, preset) if key != "seed" and key in flat)


@cache
def _composed(*overrides: str) -> dict[str, Any] | None:
    place = ["data.dir=."] if "data=folder" in overrides else []  # a folder of images has no default to differ from
    try:
        return compose(*overrides, *place).result()
    except UserError:
        return None


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

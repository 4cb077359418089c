"""The commands that train a group's finished runs again, with the arithmetic they were trained with."""

from typing import Any

from resexp.analysis.study import Group, StudyRun
from resexp.config.compose import presets_of
from resexp.config.naming import value_text
from resexp.config.settings import differing, flatten
from resexp.errors import UserError


def commands(group: Group) -> list[str]:
    """One sweep for all runs of the same seeds and settings."""
    sweeps: dict[tuple[str, str], list[str]] = {}
    for network in group.networks:
        seeds: dict[str, list[str]] = {}
        changed = changes(network.finished[0].result) if network.finished else ""
        for run in network.finished:
            seeds.setdefault(arithmetic(run) + started(run) + changed, []).append(str(run.seed))
        for settings, numbers in seeds.items():
            sweeps.setdefault((",".join(numbers), settings), []).append(network.model["name"])
    return [
        f"resexp train {'-m ' if len(names) > 1 or ',' in numbers else ''}model={','.join(names)} "
        f"data={group.data_settings['name']} recipe={group.recipe_settings['name']} seed={numbers}{settings}"
        for (numbers, settings), names in sweeps.items()
    ]


def arithmetic(run: StudyRun) -> str:
    """The overrides for device and precision, on a CPU also threads, so far as all sessions of a run agree."""
    used = {key: {one.get(key) for one in run.record.sessions} for key in ("device", "threads", "precision")}
    keys = ("device", "threads", "precision") if used["device"] == {"cpu"} else ("precision",)
    return "".join(f" {key}={value}" for key in keys if len(used[key]) == 1 for value in used[key] if value)


def started(run: StudyRun) -> str:
    """The override for the file that training started from."""
    return f" start={run.record.start['file']}" if run.record.start else ""


def changes(result: dict[str, Any]) -> str:
    """The overrides that turn the presets a run is named after into its settings."""
    try:
        presets = presets_of(result)
    except UserError:
        return " # and the settings of config.yaml, which no preset of this version has"
    flat = flatten(result)
    own = [key for key in differing(result, presets) if key not in ("seed", "model.start")]
    return "".join(f" {key}={value_text(flat[key])}" for key in own)

"""Runs that differ in one setting: it becomes an axis, seeds are averaged. Errors are fractions."""

from dataclasses import dataclass
from typing import Any

from resexp.analysis import paper
from resexp.analysis.study import Group, NetworkRuns, Study, StudyRun, content_key, distinct_labels, title
from resexp.analysis.verdict import Contrast, judge
from resexp.config.naming import name_differences, short_name, value_text
from resexp.config.presets import PARTS, settings_named
from resexp.config.settings import USUAL, flatten
from resexp.errors import UserError
from resexp.formatting import listed, natural

PRECISION = "precision"
"""The one setting to compare over that does not decide which run it is."""
NOT_RECORDED = {f"model.{name}": usual or "none" for name, usual in USUAL.items()}
"""What a run has that does not record these settings."""
PAPERS: dict[str, Any] = {
    **{f"recipe.{key}": value for key, value in paper.RECIPE.items()},
    **{"model.shortcut": "A", "model.width": 1, "model.norm": "batch", PRECISION: "fp32"},
    **NOT_RECORDED,
}
"""Values that others are compared with, where they are there; else the first is."""
OF_THE_STUDY = ("model.depth", "model.residual")
"""Axes that figure 6 and the verdict are about."""


@dataclass(frozen=True)
class Series:
    """Runs that have all settings in common but the one that is compared and the seed."""

    label: str
    network: str
    """Name of the network, where it is the same for every value."""
    cells: dict[str, NetworkRuns]
    """Its finished runs by value, as text; two values at least."""

    @property
    def runs(self) -> list[StudyRun]:
        """All of them."""
        return [run for cell in self.cells.values() for run in cell.finished]


@dataclass(frozen=True)
class Comparison:
    """What one setting changes: a series for each network, or whatever else differs."""

    over: str
    values: list[str]
    """In rising order; words begin with the one that the others are compared with."""
    reference: str
    series: list[Series]

    @property
    def runs(self) -> list[StudyRun]:
        """All that were compared."""
        return [run for one in self.series for run in one.runs]

    def against(self, series: Series) -> str:
        """The value that the others of a series are compared with: the reference, or the first that it has."""
        return next(value for value in (self.reference, *self.values) if value in series.cells)

    def contrast(self, series: Series, value: str, metric: str) -> Contrast:
        """One value minus the one that it is compared with, in one of `METRICS`."""
        reference = self.against(series)
        errors, other = (series.cells[one].by_seed(metric) for one in (value, reference))
        return Contrast(f"{series.label}: {value} minus {reference}", metric, [(1, errors), (-1, other)], margin=0.0)


def settings(run: StudyRun) -> dict[str, Any]:
    """The settings of a run by dotted name, without seed and names, and the precision that it was trained in."""
    flat = NOT_RECORDED | flatten(run.result | {"model": run.model}) | {PRECISION: run.precision}
    return {key: value for key, value in flat.items() if key not in ("seed", "model.name", "recipe.name")}


def varying(runs: list[StudyRun]) -> list[str]:
    """The settings in which runs differ."""
    each = [settings(run) for run in runs]
    keys = dict.fromkeys(key for own in each for key in own)
    return [key for key in keys if len({content_key(own.get(key)) for own in each}) > 1]


def comparisons(study: Study) -> list[Comparison]:
    """A comparison for each setting in which alone some finished runs differ, besides depth, residual and the seed."""
    names = [name for name in varying(study.finished) if name not in (*OF_THE_STUDY, PRECISION)]
    if study.repeats:
        names.append(PRECISION)
    return [found for name in names if (found := _comparison(study, name))]


def only_compared(study: Study, found: list[Comparison]) -> list[Group]:
    """The groups without a verdict of their own, all of whose finished runs are in a comparison."""
    paths = {run.path for comparison in found for run in comparison.runs}
    return [
        group
        for group in study.groups
        if (own := {run.path for network in group.networks for run in network.finished})
        and own <= paths
        and not any(contrast.compared for contrast in judge(group, 0.0).contrasts)
    ]


def compare(study: Study, over: str) -> Comparison:
    """The runs of a study over one setting, or over a whole part: model, data or recipe.

    Raises UserError, naming the settings that can be compared, where this one cannot.
    """
    known = {key for run in study.runs for key in settings(run)}
    found = _comparison(study, over) if over in {*known, *PARTS} else None
    if found:
        return found
    there = over in {*known, *PARTS, *settings_named("train")}
    what = "no finished runs differ in this alone" if there else "no such setting"
    raise UserError(f"over={over}: {'seeds are averaged' if over == 'seed' else what}; {offered(study)}")


def offered(study: Study) -> str:
    """What there is to compare over, as the end of a refusal."""
    names = [name for name in (*varying(study.finished), *PARTS) if _comparison(study, name)]
    return f"over={listed(names, 'or')}" if names else "train some that do with resexp train -m"


def _comparison(study: Study, over: str) -> Comparison | None:
    """None where no two values have everything else in common."""
    finished = study.finished + [run for run in study.repeats if run.finished and over == PRECISION]
    labels = distinct_labels(over, finished) if over in PARTS else {}
    cells: dict[str, dict[str, list[StudyRun]]] = {}
    common: dict[str, dict[str, Any]] = {}
    for run in sorted(finished, key=lambda run: (run.model["residual"], run.model["depth"], run.seed)):
        flat = settings(run)
        value = labels[content_key(run.part(over))] if labels else value_text(flat.get(over))
        rest = {key: flat[key] for key in flat if key not in (over, PRECISION) and not key.startswith(f"{over}.")}
        key = content_key(rest)
        common[key] = rest | {f"{part}.name": run.result[part]["name"] for part in PARTS if part != over}
        cell = cells.setdefault(key, {}).setdefault(value, [])
        if all(other.seed != run.seed for other in cell):  # else the same settings under the names of two presets
            cell.append(run)
    kept = [key for key, own in cells.items() if len(own) > 1]
    if not kept:
        return None
    names = _labels([common[key] for key in kept])
    reference = value_text(PAPERS.get(over))
    values = sorted({value for key in kept for value in cells[key]}, key=lambda value: _order(value, reference))
    series = [_series(name, cells[key]) for name, key in zip(names, kept, strict=True)]
    return Comparison(over, values, reference if reference in values else values[0], series)


def _series(label: str, cells: dict[str, list[StudyRun]]) -> Series:
    networks = {value: NetworkRuns(runs[0].label("model"), runs[0].model, runs) for value, runs in cells.items()}
    names = {network.model["name"] for network in networks.values()}
    return Series(label, names.pop() if len(names) == 1 else "", networks)


def _order(value: str, reference: str) -> tuple[bool, float, bool, list[tuple[float, str]]]:
    """Numbers rise; words follow, the reference first."""
    try:
        return False, float(value), False, []
    except ValueError:
        return True, 0.0, value != reference, natural(value)


def _labels(common: list[dict[str, Any]]) -> list[str]:
    """What tells series apart: the network, then data set and recipe where these differ, then single settings."""
    named = [name for name in ("data.name", "recipe.name") if len({own.get(name) for own in common}) > 1]
    first = [[_network(own), *(own[name] for name in named)] for own in common]
    labels: list[str] = []
    for own, words in zip(common, first, strict=True):
        alike = [other for other, theirs in zip(common, first, strict=True) if theirs == words]
        differ = [
            key for key in own if not key.endswith(".name") and any(other.get(key) != own[key] for other in alike)
        ]
        words = [*words, *(f"{short_name(key)} {value_text(own[key])}" for key in differ)]
        labels.append(", ".join(filter(None, words)) or "all runs")
    return labels


def _network(own: dict[str, Any]) -> str:
    """ResNet-56, ResNet-56+startfrom-20, or what of it is the same in all runs of a series."""
    residual, depth = own.get("model.residual"), own.get("model.depth")
    unusual = {key: own[key] for key, usual in NOT_RECORDED.items() if own.get(key, usual) != usual}
    if residual is None:
        name = f"{depth} layers" if depth else ""
    elif depth:
        name = title(f"{'resnet' if residual else 'plain'}{depth}")
    else:
        name = f"{'residual' if residual else 'plain'} networks"
    return name + name_differences(unusual)

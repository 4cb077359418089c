"""How the gradient's way back changes while a network trains, from the weights that were kept on the way."""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from resexp.analysis.study import Group, title
from resexp.diagnose.table import INITIALISATION, PLAIN, RESIDUAL, SNAPSHOT, Measured, Subject
from resexp.formatting import listed
from resexp.report.figures import drops, iteration_axis
from resexp.report.spec import Curve, Panel, Points
from resexp.report.why.profiles import by_network, geometric_mean, log_axis, number, short

STABLE, VANISHING = "stable", "vanishing"
WITHIN = 10.0
"""Gradients are stable whose norm at the first block's output is within this factor of that at the last block's."""


def behaviour(value: float) -> str:
    """The word for a factor by which gradients are multiplied on their way back."""
    if not 0 < value < math.inf:
        return "not finite"
    return STABLE if 1 / WITHIN <= value <= WITHIN else VANISHING if value < 1 else "exploding"


@dataclass(frozen=True)
class Followed:
    """Panels, plain beside residual, and a clause of a sentence; empty where no weights were kept on the way."""

    panels: list[Panel]
    words: str
    vanishing: list[str]
    """Networks whose gradients vanish at some of the evaluation points."""
    gaps: bool
    """Whether some seeds were measured where others of the same network were not."""


def followed(group: Group, measured: Measured, factor: Callable[[Subject], float]) -> Followed:
    """By what each network multiplies the gradient from its last block to its first, `factor`, against iteration."""
    curves: dict[str, list[Curve]] = {}
    clauses: list[str] = []
    vanishing: list[str] = []
    for network, subjects in by_network(list(measured)).items():
        on_the_way = {subject.iteration for subject in subjects if subject.source == SNAPSHOT}
        one = follow(network, subjects, factor)
        values = [value for at, value in one.mean if at in on_the_way and not math.isnan(value)]
        if values:
            curves.setdefault(subjects[0].family, []).append(one)
            ends = dict.fromkeys((number(min(values)), number(max(values))))
            kinds = dict.fromkeys(map(behaviour, sorted(values)))
            clauses.append(f"{' to '.join(ends)} in {title(network)} ({listed(list(kinds))})")
            vanishing += [title(network)] if VANISHING in kinds else []
    everything = [one for own in curves.values() for one in own]
    panels = [
        Panel(
            f"{family.capitalize()}, during training",
            curves[family],
            iteration_axis(group),
            log_axis(everything),
            "Gradient norm at the first block as a multiple of that at the last, against iteration; the curves end at "
            f"{', '.join(f'{title(one.network)} {number(one.end)}' for one in curves[family])}.",
            drops(group),
        )
        for family in (PLAIN, RESIDUAL)
        if family in curves
    ]
    words = f" At evaluation points during training it is multiplied by {listed(clauses)}." if clauses else ""
    gaps = any(math.isnan(value) for one in everything for _, value in one.mean)
    return Followed(panels, words, vanishing, gaps)


def follow(network: str, subjects: list[Subject], factor: Callable[[Subject], float]) -> Curve:
    """The curve of one network, from initialisation on: each trained seed, and the geometric mean.

    The mean has a gap (nan) where some seeds were measured and others were not.
    """
    trained = {(subject.seed, subject.norm) for subject in subjects if subject.source != INITIALISATION}
    seeds: dict[int, dict[float, float]] = defaultdict(dict)
    for subject in subjects:
        value = factor(subject)
        if (subject.seed, subject.norm) in trained and 0 < value < math.inf:
            seeds[subject.seed][subject.iteration] = value
    times = sorted({at for found in seeds.values() for at in found})
    mean: Points = [(at, geometric_mean([found.get(at, math.nan) for found in seeds.values()])) for at in times]
    while mean and math.isnan(mean[-1][1]):
        mean.pop()
    thin: list[Points] = [sorted(found.items()) for _, found in sorted(seeds.items())]
    end = mean[-1][1] if mean else math.nan
    return Curve(network, "", short(network), False, thin if len(seeds) > 1 else [], mean, end)

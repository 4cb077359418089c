"""A group of runs -> figures 1 and 6: which curves stand in which panel. Errors are fractions; no matplotlib."""

import statistics
from collections import defaultdict
from collections.abc import Collection
from typing import Any

from resexp.analysis import paper
from resexp.analysis.study import Group, NetworkRuns, StudyRun, title
from resexp.analysis.verdict import PLAIN_PAIR, RESIDUAL_PAIR
from resexp.formatting import listed
from resexp.report.captions import data_name, line_words, seed_words, setting_words
from resexp.report.spec import Axis, Curve, Panel, Plate, Points

POINTS = 64
"""A drawn training curve has at most about so many points, each the mean over the iterations between two of them."""

TOPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
PAPERS_TOP = 0.2

TICKS = (1, 2, 5, 10, 20)
"""Distances of ticks on the error axis, in percent."""

APART, LEAST_APART = 3, 0.005
"""A seed leaves the others whose error is this many times their range from the nearest of them, and at least so far."""

Line = tuple[NetworkRuns, bool, str]
"""A network, whether its test error (else its running training error), and the label."""


def short(network: str) -> str:
    """plain56+lr0.05 -> 56+lr0.05."""
    return network.removeprefix("plain").removeprefix("resnet")


def row_step(recipe: dict[str, Any]) -> int:
    """Iterations that a point of a drawn training curve is the mean of."""
    every = recipe.get("row_every") or 1
    return every * max(1, round(recipe["iterations"] / POINTS / every))


def run_points(run: StudyRun, test: bool, step: int) -> Points:
    """The test error where it was measured, or the running training error as means over `step` iterations."""
    if test:
        return [(row.iteration, row.test_error) for row in run.rows if row.test_error is not None]
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    before = 0
    for row in run.rows:
        end = min(-(-row.iteration // step) * step, run.iterations)
        sums[end][0] += row.train_error * (row.iteration - before)
        sums[end][1] += row.iteration - before
        before = row.iteration
    return [(end, total / length) for end, (total, length) in sums.items()]


def mean_points(seeds: Collection[Points]) -> Points:
    """Mean over seeds where all of them were measured."""
    at: dict[float, list[float]] = defaultdict(list)
    for points in seeds:
        for iteration, error in points:
            at[iteration].append(error)
    return [(when, statistics.fmean(errors)) for when, errors in sorted(at.items()) if len(errors) == len(seeds)]


def apart(network: NetworkRuns) -> list[str]:
    """The seed that leaves all others, at least two, in final running error: ResNet-56 seed 2 by +3.3 points."""
    found: list[str] = []
    errors = network.by_seed("running_error")
    for seed, error in errors.items():
        others = [other for one, other in errors.items() if one != seed]
        nearest = min(others, key=lambda other: abs(other - error), default=error)
        if len(others) > 1 and abs(error - nearest) > max(APART * (max(others) - min(others)), LEAST_APART):
            found.append(f"{network.title} seed {seed} by {100 * (error - nearest):+.1f} points")
    return found


def _metric(test: bool) -> str:
    return "test_error" if test else "running_error"


def top(group: Group, networks: list[NetworkRuns]) -> float:
    """Upper end of a panel's error axis: the paper's, or enough for its networks of the verdict and all that trained.

    Each panel has its own, so that residual errors can be read beside plain ones several times as large.
    """
    if group.is_papers:
        return PAPERS_TOP
    ends: list[float] = []
    for network in networks:
        if network.name in (*PLAIN_PAIR, *RESIDUAL_PAIR) or all(run.trained for run in network.finished):
            ends += [end for test in (False, True) if (end := network.mean(_metric(test))) is not None]
    return axis_top(ends)


def axis_top(ends: list[float]) -> float:
    """An upper end for an axis on which curves end at these errors, with room for where they come from."""
    need = 1.5 * max(ends, default=1.0)
    return next((limit for limit in TOPS if limit >= need), 1.0)


def error_axis(limit: float) -> Axis:
    """From 0 to `limit`, in percent."""
    step = next(step for step in TICKS if 100 * limit / step <= 6)
    return Axis(0, limit, [(at / 100, str(at)) for at in range(0, round(100 * limit) + 1, step)], percent=True)


def iteration_axis(recipe: dict[str, Any]) -> Axis:
    """From the first iteration to the last, marked at its quarters."""
    quarters = [round(recipe["iterations"] * part / 4) for part in range(5)]
    return Axis(0, recipe["iterations"], [(at, f"{at:,}") for at in quarters], "iteration")


def drops(recipe: dict[str, Any]) -> list[float]:
    """Where the learning rate drops."""
    return [drop for drop in recipe["drops"] if drop < recipe["iterations"]]


def _curves(group: Group, lines: list[Line], both: bool) -> list[tuple[Curve, str]]:
    """What can be drawn, and in words where it ends; the training error is dashed where `both` are drawn."""
    drawn: list[tuple[Curve, str]] = []
    for network, test, label in lines:
        seeds = {run.seed: run_points(run, test, row_step(group.recipe_settings)) for run in network.finished}
        mean = mean_points(seeds.values())
        if mean:
            end = network.mean(_metric(test)) or mean[-1][1]
            curve = Curve(network.name, label, both and not test, seeds if len(seeds) > 1 else {}, mean)
            drawn.append((curve, f"{network.title} {'test' if test else 'train'} {100 * end:.1f}%"))
    return drawn


def _plate(group: Group, name: str, heading: str, lines: dict[str, list[Line]], paper_points: bool = False) -> Plate:
    """Error against iteration, in a panel for each key."""
    both, recipe = name == "figure6", group.recipe_settings
    step = row_step(recipe)
    panels: list[Panel] = []
    high: list[str] = []
    for above, own in lines.items():
        limit = top(group, [network for network, _, _ in own])
        drawn = _curves(group, own, both)
        high += [end for curve, end in drawn if curve.end > limit]
        ends = ", ".join(end for _, end in drawn)
        alt = f"Error against iteration; the curves end at {ends}." if ends else "No finished run."
        papers = [point for network, test, _ in own if paper_points for point in _papers_points(network, test)]
        curves = [curve for curve, _ in drawn]
        panels.append(Panel(above, curves, iteration_axis(recipe), error_axis(limit), alt, drops(recipe), papers))
    networks = {network.name: network for own in lines.values() for network, _, _ in own}
    wanted = [network.name for network in group.networks] if both else PLAIN_PAIR
    finished = {network.name for network in group.networks if network.finished}
    missing = [title(one) for one in wanted if one not in finished]
    others = [title(one) for one in wanted if one in finished and one not in networks]
    strays = [one for network in networks.values() for one in apart(network)]
    key = [
        "Dashed: training error; solid: test error." if both else "",
        "Training error: running, on augmented mini-batches.",
        line_words(panels),
        "Vertical lines: drops of the learning rate." if drops(recipe) else "",
    ]
    caption = [
        f"Each point of a training error is the mean over {step:,} iterations.",
        "The panels have different scales." if len({panel.y.high for panel in panels}) > 1 else "",
        f"Off the scale: {listed(high)}." if high else "",
        f"Far from the other seeds, in training error: {listed(strays)}." if strays else "",
        f"Not drawn, no finished run: {listed(missing)}." if missing else "",
        f"Not drawn, but in the table: {listed(others)}." if others else "",
        "Hollow markers: the paper's figure, digitised." if any(panel.points for panel in panels) else "",
    ]
    seeds = seed_words([run.seed for run in network.finished] for network in networks.values())
    setting, words = f"{setting_words(group)}; {seeds}", " ".join(filter(None, caption))
    return Plate(name, heading, panels, setting, words, key)


def figure1(group: Group) -> Plate | None:
    """Plain-20 against plain-56: training error beside test error. None where neither is finished."""
    networks = [network for name in PLAIN_PAIR if (network := group.network(name)) and network.finished]
    if not networks:
        return None
    depths = listed([str(network.model["depth"]) for network in networks])
    heading = f"Plain networks of {depths} layers, {data_name(group)}"
    lines = {
        kind: [(network, test, network.title) for network in networks]
        for kind, test in (("Training error (%)", False), ("Test error (%)", True))
    }
    return _plate(group, "figure1", heading, lines)


def figure6(group: Group, paper_points: bool = False) -> Plate | None:
    """Plain networks beside residual ones, training and test error. None where no network is finished.

    Where plain and residual networks of the paper are there, others are left to the table.
    """
    finished = [network for network in group.networks if network.finished]
    if not finished:
        return None
    papers = [network for network in finished if paper.network_name(network.model)]
    if {network.model["residual"] for network in papers} == {False, True}:
        finished = papers
    lines = {
        f"{family} networks: error (%)": [
            (network, test, f"{short(network.name)} {'test' if test else 'train'}")
            for network in finished
            if network.model["residual"] == residual
            for test in (False, True)
        ]
        for family, residual in (("Plain", False), ("Residual", True))
    }
    heading = f"Plain and residual networks, {data_name(group)}"
    return _plate(group, "figure6", heading, lines, paper_points and group.is_papers)


def _papers_points(network: NetworkRuns, test: bool) -> list[tuple[str, bool, int, float]]:
    """The paper's errors at 30,000 and about 62,000 iterations, as far as its figure shows them."""
    name = paper.network_name(network.model) or ""
    ends, middles = (
        (paper.FIGURE_TEST_ERROR, paper.TEST_ERROR_30K) if test else (paper.TRAIN_ERROR, paper.TRAIN_ERROR_30K)
    )
    published = [(at, table[name]) for at, table in ((62_000, ends), (30_000, middles)) if name in table]
    return [(network.name, test, at, one.error) for at, one in published if not one.bound]

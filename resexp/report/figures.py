"""A group of runs -> the plates to draw: which curves stand in which panel. Errors are fractions; no matplotlib."""

import statistics
from collections import defaultdict

from resexp.analysis import paper
from resexp.analysis.study import Group, NetworkRuns, StudyRun, title
from resexp.analysis.verdict import PLAIN_PAIR, RESIDUAL_PAIR
from resexp.formatting import listed
from resexp.report import captions
from resexp.report.spec import Axis, Curve, Panel, Plate, Points
from resexp.storage import history

TRAIN, TEST = "train", "test"
METRIC_OF = {TRAIN: "running_error", TEST: "test_error"}
POINTS = 64
"""A drawn training curve has at most about so many points, each the mean over the iterations between two of them."""

TOPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
PAPERS_TOP = 0.2

TICKS = (1, 2, 5, 10, 20)
"""Distances of ticks on the error axis, in percent."""


def row_step(group: Group) -> int:
    """Iterations that a point of a drawn training curve is the mean of."""
    every = group.recipe_settings.get("row_every") or 1
    return every * max(1, round(group.iterations / POINTS / every))


def _training_points(run: StudyRun, step: int) -> Points:
    """The running training error, as means over `step` iterations."""
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    before = 0
    for row in run.rows:
        end = min(-(-row.iteration // step) * step, run.iterations)
        sums[end][0] += row.train_error * (row.iteration - before)
        sums[end][1] += row.iteration - before
        before = row.iteration
    return [(end, total / length) for end, (total, length) in sums.items()]


def _test_points(rows: list[history.Row]) -> Points:
    return [(row.iteration, row.test_error) for row in rows if row.test_error is not None]


def _mean(seeds: list[Points]) -> Points:
    """Mean over seeds where all of them were measured."""
    at: dict[float, list[float]] = defaultdict(list)
    for points in seeds:
        for iteration, error in points:
            at[iteration].append(error)
    return [(iteration, statistics.fmean(found)) for iteration, found in sorted(at.items()) if len(found) == len(seeds)]


def _curve(group: Group, network: NetworkRuns, kind: str, label: str, dashed: bool = False) -> Curve | None:
    step = row_step(group)
    runs = network.finished
    seeds = [_training_points(run, step) if kind == TRAIN else _test_points(run.rows) for run in runs]
    mean = _mean(seeds)
    end = network.mean(METRIC_OF[kind])
    if not mean:
        return None
    thin = seeds if len(seeds) > 1 else []
    return Curve(network.name, kind, label, dashed, thin, mean, mean[-1][1] if end is None else end)


def top(group: Group) -> float:
    """Upper end of the error axis: the paper's, or room for the networks of the verdict and all that trained."""
    if group.is_papers:
        return PAPERS_TOP
    ends: list[float] = []
    for network in group.networks:
        if network.name in (*PLAIN_PAIR, *RESIDUAL_PAIR) or all(run.trained for run in network.finished):
            ends += [end for metric in METRIC_OF.values() if (end := network.mean(metric)) is not None]
    need = 1.5 * max(ends, default=1.0)
    return next((limit for limit in TOPS if limit >= need), 1.0)


def iteration_axis(group: Group) -> Axis:
    """From the first iteration to the last, marked at its quarters."""
    quarters = [round(group.iterations * part / 4) for part in range(5)]
    return Axis(0, group.iterations, [(at, f"{at:,}") for at in quarters], "iteration")


def drops(group: Group) -> list[float]:
    """Where the learning rate drops."""
    return [drop for drop in group.recipe_settings["drops"] if drop < group.iterations]


def _panel(
    group: Group, heading: str, curves: list[Curve], points: list[tuple[str, str, int, float]] | None = None
) -> Panel:
    """Error against iteration."""
    limit = top(group)
    step = next(step for step in TICKS if 100 * limit / step <= 6)
    heights = [step * number for number in range(100) if step * number <= 100 * limit + 1e-9]
    ends = [f"{title(curve.network)} {curve.kind} {100 * curve.end:.1f}%" for curve in curves]
    return Panel(
        heading,
        curves,
        iteration_axis(group),
        Axis(0, limit, [(height / 100, str(height)) for height in heights]),
        f"Error against iteration; the curves end at {', '.join(ends)}." if ends else "No finished run.",
        drops(group),
        points or [],
    )


def _plate(group: Group, name: str, heading: str, panels: list[Panel], missing: list[str]) -> Plate:
    drawn = [curve for panel in panels for curve in panel.curves]
    high = [(curve.network, curve.kind, curve.end) for curve in drawn if curve.mean[-1][1] > top(group)]
    runs = {curve.network: network.finished for curve in drawn if (network := group.network(curve.network))}
    points = any(panel.points for panel in panels)
    caption = captions.caption(group, list(runs.values()), row_step(group), missing, high, points)
    key = "Dashed: training error; solid: test error. " if any(curve.dashed for curve in drawn) else ""
    return Plate(name, heading, panels, key + caption)


def figure1(group: Group) -> Plate | None:
    """Plain-20 against plain-56: training error beside test error. None where neither is finished."""
    networks = [network for name in PLAIN_PAIR if (network := group.network(name)) and network.finished]
    missing = [name for name in PLAIN_PAIR if name not in {network.name for network in networks}]
    panels: list[Panel] = []
    for kind, heading in ((TRAIN, "Training error (%)"), (TEST, "Test error (%)")):
        curves = [_curve(group, network, kind, network.title) for network in networks]
        panels.append(_panel(group, heading, [curve for curve in curves if curve]))
    if not networks:
        return None
    depths = listed([str(network.model["depth"]) for network in networks])
    heading = f"Plain networks of {depths} layers, {captions.data_name(group)}"
    return _plate(group, "figure1", heading, panels, missing)


def figure6(group: Group, paper_points: bool = False) -> Plate | None:
    """Plain networks beside residual ones, training and test error. None where no network is finished."""
    panels: list[Panel] = []
    for residual, heading in ((False, "Plain networks: error (%)"), (True, "Residual networks: error (%)")):
        curves: list[Curve] = []
        points: list[tuple[str, str, int, float]] = []
        for network in group.networks:
            if network.model["residual"] != residual or not network.finished:
                continue
            depth = network.name.removeprefix("resnet" if residual else "plain")
            found = [_curve(group, network, kind, f"{depth} {kind}", kind == TRAIN) for kind in (TRAIN, TEST)]
            curves += [curve for curve in found if curve]
            points += _papers_points(network) if paper_points and group.is_papers else []
        panels.append(_panel(group, heading, curves, points))
    if not any(panel.curves for panel in panels):
        return None
    missing = [network.name for network in group.networks if not network.finished]
    heading = f"Plain and residual networks, {captions.data_name(group)}"
    return _plate(group, "figure6", heading, panels, missing)


def _papers_points(network: NetworkRuns) -> list[tuple[str, str, int, float]]:
    name = paper.network_name(network.model) or ""
    tables = (
        (TRAIN, 62_000, paper.TRAIN_ERROR),
        (TEST, 62_000, paper.FIGURE_TEST_ERROR),
        (TRAIN, 30_000, paper.TRAIN_ERROR_30K),
        (TEST, 30_000, paper.TEST_ERROR_30K),
    )
    return [
        (network.name, kind, at, table[name].error)
        for kind, at, table in tables
        if name in table and not table[name].bound
    ]

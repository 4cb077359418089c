"""A comparison over one setting -> two figures, a table and a tidy CSV of its runs."""

from typing import Any

from resexp.analysis.compare import PRECISION, Comparison, Series, settings, varying
from resexp.analysis.study import METRICS, NetworkRuns
from resexp.analysis.wording import interval_text, mean_and_spread, points
from resexp.config.naming import short_name, value_text
from resexp.formatting import ABSENT, csv_text, listed, shortened
from resexp.report.captions import line_words, seed_words
from resexp.report.figures import axis_top, drops, error_axis, iteration_axis, mean_points, row_step, run_points
from resexp.report.spec import Axis, Curve, Panel, Plate, Points, Table
from resexp.report.tables import ERRORS

TICKS_WIDTH = 44
"""Characters that the names of all values have below an axis."""
MEASURES = {"running_error": "Running training error (%)", "test_error": "Test error (%)"}


def compared_table(comparison: Comparison) -> Table:
    """A row for each series and value: errors, and differences to the value that the others are compared with."""
    rows: list[list[str]] = []
    for series in comparison.series:
        for value in comparison.values:
            if cell := series.cells.get(value):
                errors = [mean_and_spread(cell, metric) for metric in ERRORS]
                same = value == comparison.against(series)
                differences = [ABSENT if same else _difference(comparison, series, value, one) for one in MEASURES]
                rows.append([series.label, value, str(len(cell.finished)), *errors, *differences])
    heading = ["network", short_name(comparison.over), "seeds", "test error, %", "running training error, %"]
    heading += ["clean training error, %", "training, points more (95%)", "test, points more (95%)"]
    return Table("Each value at the end of training", heading, rows, {0, 1})


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """`compared_table` for programs: fractions, differences to the value `against` with the ends of their intervals."""
    rows: list[dict[str, Any]] = []
    for series in comparison.series:
        for value in comparison.values:
            if cell := series.cells.get(value):
                against = comparison.against(series)
                row: dict[str, Any] = {"over": comparison.over, "series": series.label, "value": value}
                row |= {"against": against, "seeds": [run.seed for run in cell.finished]}
                row |= {metric: cell.mean(metric) for metric in METRICS}
                row |= {f"{metric}_std": cell.spread(metric) for metric in METRICS}
                for metric in MEASURES:
                    one = comparison.contrast(series, value, metric)
                    known = one.compared and value != against
                    low, high = (known and one.interval) or (None, None)
                    row |= {f"{metric}_more": one.difference if known else None}
                    row |= {f"{metric}_low": low, f"{metric}_high": high}
                rows.append(row)
    return rows


def _difference(comparison: Comparison, series: Series, value: str, metric: str) -> str:
    """+1.2 (0.3 to 2.1); without an interval for one seed, a hyphen where nothing can be compared."""
    contrast = comparison.contrast(series, value, metric)
    if not contrast.compared:
        return ABSENT
    return points(contrast) + (f" ({interval_text(contrast.interval)})" if contrast.interval else "")


def terminal(comparison: Comparison) -> str:
    """The same for a terminal, which has no space for the clean error and long headings."""
    table = compared_table(comparison)
    heading = [*table.heading[:3], "test, %", "training, %", "training, more (95%)", "test, more (95%)"]
    return Table("", heading, [row[:5] + row[6:] for row in table.rows], table.text).terminal()


def notes(comparison: Comparison) -> str:
    """What stands below the table."""
    method = {
        comparison.contrast(series, value, "running_error").method
        for series in comparison.series
        for value in series.cells
        if value != comparison.against(series)
    } - {""}
    precisions = {run.precision for run in comparison.runs} if comparison.over != PRECISION else set[str]()
    equal = "All their other settings are equal"
    if len(precisions) > 1:
        equal += f", but they were trained in {listed(sorted(precisions))}"
    how = f"; 95% intervals by {' or '.join(sorted(method))}" if method else ", without an interval for a single seed"
    return (
        "Mean ± sample standard deviation over seeds. Points more: than the same network with "
        f"{comparison.over}={comparison.reference} (its first value where it has none of that), over the seeds "
        f"that both have, if any{how}. "
        f"{equal}. An interval is about seeds, not about other schedules or data."
    )


def markdown(comparison: Comparison) -> str:
    """table.md."""
    return f"### Over {comparison.over}\n\n{compared_table(comparison).markdown()}\n{notes(comparison)}\n"


def runs_csv(comparison: Comparison) -> str:
    """runs.csv: a row for each run, with every setting that differs among them; errors as fractions."""
    each = [(series.label, run, settings(run)) for series in comparison.series for run in series.runs]
    differing = dict.fromkeys([*varying([run for _, run, _ in each]), comparison.over])
    differing = [name for name in differing if any(name in own for _, _, own in each)]
    heading = ("series", "network", "seed", *differing, *METRICS, "seconds", "device", "run")
    rows: list[list[Any]] = []
    for label, run, own in each:
        row = [label, run.label("model"), run.seed]
        row += [value_text(own[name]) if name in own else None for name in differing]
        row += [getattr(run.final, metric) for metric in METRICS]
        rows.append([*row, run.record.seconds, run.device, run.path])
    return csv_text(heading, rows)


def plates(comparison: Comparison) -> list[Plate]:
    """Final errors over the values, and the curves of training error, a panel for each series."""
    return [_errors(comparison), _curves(comparison)]


def _setting(comparison: Comparison) -> str:
    parts = {f"{run.label('data')}/{run.result['recipe']['name']}" for run in comparison.runs}
    seeds = ([run.seed for run in cell.finished] for one in comparison.series for cell in one.cells.values())
    return f"{', '.join(sorted(parts))}; {seed_words(seeds)}"


def _errors(comparison: Comparison) -> Plate:
    width = max(3, TICKS_WIDTH // len(comparison.values))
    ticks = [(float(at), shortened(value, width)) for at, value in enumerate(comparison.values)]
    x = Axis(-0.2, len(ticks) - 0.8, ticks, comparison.over)
    panels: list[Panel] = []
    names = [series.network for series in comparison.series]
    for metric, heading in MEASURES.items():
        curves: list[Curve] = []
        for series in comparison.series:
            style = series.network if names.count(series.network) == 1 and series.network else series.label
            cells = [(at, cell) for at, value in enumerate(comparison.values) if (cell := series.cells.get(value))]
            mean = [(float(at), error) for at, cell in cells if (error := cell.mean(metric)) is not None]
            if mean:
                curves.append(Curve(style, series.label, False, _seeds(cells, metric), mean))
        shown = "; ".join(f"{one.label} {', '.join(f'{100 * error:.1f}%' for _, error in one.mean)}" for one in curves)
        limit = axis_top([error / 1.4 for one in curves for line in one.lines for _, error in line])
        panels.append(Panel(heading, curves, x, error_axis(limit), f"By value: {shown}." if shown else "Nothing."))
    key = [
        line_words(panels),
        "A line joins the values of one seed; what lies between them was not trained.",
    ]
    caption = f"At the end of training, for each value of {comparison.over}, in order and evenly spaced."
    heading = f"Errors over {comparison.over}"
    return Plate("errors", heading, panels, _setting(comparison), caption, key)


def _seeds(cells: list[tuple[int, NetworkRuns]], metric: str) -> dict[int, Points]:
    """A line for each of several seeds that has two values or more."""
    lines: dict[int, Points] = {}
    for at, cell in cells:
        for seed, error in cell.by_seed(metric).items():
            lines.setdefault(seed, []).append((float(at), error))
    return {seed: line for seed, line in lines.items() if len(line) > 1} if len(lines) > 1 else {}


def _curves(comparison: Comparison) -> Plate:
    panels: list[Panel] = []
    steps: set[int] = set()
    for series in comparison.series:
        drawn: list[Curve] = []
        recipes = [cell.runs[0].result["recipe"] for cell in series.cells.values()]
        longest = max(recipes, key=lambda recipe: recipe["iterations"])
        for value in comparison.values:
            cell = series.cells.get(value)
            runs = cell.finished if cell else []
            seeds = {run.seed: run_points(run, False, row_step(run.result["recipe"])) for run in runs}
            if mean := mean_points(seeds.values()):
                drawn.append(Curve(value, value, False, seeds if len(seeds) > 1 else {}, mean))
        steps |= {row_step(recipe) for recipe in recipes}
        same = len({str(recipe["drops"]) for recipe in recipes}) == 1
        shown = ", ".join(f"{one.label} {100 * one.end:.1f}%" for one in drawn)
        y = error_axis(axis_top([one.end for one in drawn]))
        alt = f"Running training error against iteration; the curves end at {shown}."
        panels.append(Panel(series.label, drawn, iteration_axis(longest), y, alt, drops(longest) if same else []))
    key = [
        line_words(panels),
        "Vertical lines: drops of the learning rate, where all have the same.",
    ]
    caption = (
        f"Running training error in percent for each value of {comparison.over}, each point the mean over "
        f"{' or '.join(f'{step:,}' for step in sorted(steps))} iterations."
    )
    heading = f"Training error over {comparison.over}"
    return Plate("curves", heading, panels, _setting(comparison), caption, key, comparison.values)

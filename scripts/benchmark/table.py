"""From measurements to bench.csv, a bar chart and the lines that say what the figures mean."""

import csv
import statistics
from pathlib import Path
from typing import Any

COLUMNS = ("network", "measure", "engine", "precision", "images_per_second_median", "low", "high", "seconds_startup")
COLUMNS += ("peak_memory_mb", "layout", "deterministic", "processes", "seconds_per_iteration", "seconds_first_startup")

Row = dict[str, Any]


def row(spec: Row, results: list[Row]) -> Row:
    """Median and quartiles over all turns; engine and precision as they came out.

    A start-up ends with the first window. The first may have had to compile; `seconds_startup` is of those after it,
    where there are any. The images of an iteration and `results` stay beside what is written, for ratios within turns.
    """
    first, *later = [result["seconds_startup"] for result in results]
    low, median, high = quartiles([speed for result in results for speed in result["speeds"]])
    return {
        **{name: spec[name] for name in COLUMNS if name in spec},
        "engine": results[-1]["engine"],
        "precision": results[-1]["precision"],
        "images_per_second_median": round(median, 1),
        "low": round(low, 1),
        "high": round(high, 1),
        "seconds_startup": round(statistics.median(later or [first]), 1),
        "peak_memory_mb": round(max(result["peak_memory_mb"] for result in results)),
        "seconds_per_iteration": round(spec["processes"] * spec["batch_size"] / median, 6),
        "seconds_first_startup": round(first, 1),
        "images": spec["processes"] * spec["batch_size"],
        "results": results,
    }


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if values[1:] else 3 * values
    return low, median, high


def floor_rows(rows: list[Row], batch_size: int) -> list[Row]:
    """For each network and precision, what memory traffic alone would allow on this GPU."""
    from floor import copy_bandwidth, step_bytes

    bandwidth = copy_bandwidth()
    found: list[Row] = []
    for network, precision in sorted({(row["network"], row["precision"]) for row in rows if row["measure"] == "bare"}):
        seconds = step_bytes(network, batch_size, precision) / bandwidth
        known: Row = {"network": network, "measure": "floor", "precision": precision, "processes": 1, "results": []}
        speeds = {"images_per_second_median": round(batch_size / seconds, 1), "seconds_per_iteration": seconds}
        found.append(dict.fromkeys(COLUMNS, "") | known | speeds)
    return found


def write(rows: list[Row], path: Path) -> None:
    """bench.csv."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def ratios(rows: list[Row]) -> list[str]:
    """resexp over usual, over bare and over the floor, and its start-up; for each network, engine and precision."""
    lines: list[str] = []
    for own in rows:
        if own["measure"] != "resexp" or own["deterministic"]:
            continue
        same = {"network": own["network"], "precision": own["precision"]}
        others = {
            "usual": one(rows, measure="usual", network=own["network"]),
            "bare": one(
                rows, measure="bare", engine=own["engine"], layout="channels_last", deterministic=False, **same
            ),
            "floor": one(rows, measure="floor", **same),
        }
        parts = [f"resexp/{name} {quotient(own, other)}" for name, other in others.items() if other]
        first, later = own["seconds_first_startup"], own["seconds_startup"]
        parts += [f"start-up {first} s" + (f", then {later} s" if later != first else "")] if parts else []
        if parts:
            lines.append(f"{own['network']:<10} {own['engine']} {own['precision']}: {', '.join(parts)}")
    return lines


def prices(rows: list[Row]) -> list[str]:
    """What deterministic=true and the contiguous layout cost, as ratios to the same row without them."""
    ordinary = {"deterministic": (False, "without"), "layout": ("channels_last", "in channels_last")}
    kind = ("network", "measure", "engine", "precision", "layout", "deterministic", "processes")
    lines: list[str] = []
    for own in rows:
        for column, (value, words) in ordinary.items():
            other = one(rows, **{key: own[key] for key in kind} | {column: value})
            if own["measure"] != "floor" and own[column] != value and other:
                lines.append(f"{name(own)}: {quotient(own, other)} of the speed {words}")
    return lines


def one(rows: list[Row], **wanted: Any) -> Row | None:
    """The first row with these values."""
    return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)


def quotient(own: Row, other: Row) -> str:
    """Speed over speed: the median over the turns that both had, and the quartiles; else median over median."""
    others = {result["at"]: result["speeds"] for result in other["results"]}
    both = [(result["speeds"], others[result["at"]]) for result in own["results"] if result["at"] in others]
    found = [mine / yours for speeds in both for mine, yours in zip(*speeds, strict=True)]
    if not found:
        return f"{own['images_per_second_median'] / other['images_per_second_median']:.2f}"
    low, median, high = quartiles(found)
    return f"{median:.2f} ({low:.2f} to {high:.2f})" if found[1:] else f"{median:.2f}"


def depth_lines(rows: list[Row], depths: list[int]) -> list[str]:
    """The least-squares line of seconds an iteration against depth to 110, and how far each depth is from it."""
    found = [(depth, one(rows, network=f"resnet{depth}", measure="resexp", deterministic=False)) for depth in depths]
    measured = {depth: row for depth, row in found if row}
    if sum(depth <= 110 for depth in measured) < 3:
        return []
    shared = set.intersection(*({result["at"] for result in row["results"]} for row in measured.values()))
    seconds = {depth: seconds_per_iteration(row, shared) for depth, row in measured.items()}
    fitted = {depth: value for depth, value in seconds.items() if depth <= 110}
    slope, intercept = statistics.linear_regression(list(fitted), list(fitted.values()))
    off = {depth: value / (intercept + slope * depth) - 1 for depth, value in seconds.items()}
    largest = max(abs(off[depth]) for depth in fitted)
    lines = [
        f"seconds an iteration = {intercept:.6f} + {slope:.6f} * depth, depths {', '.join(map(str, fitted))}",
        f"  intercept worth {intercept / slope:.1f} layers; largest relative residual {largest:.1%}",
    ]
    return lines + [f"  depth {depth}: {off[depth]:+.1%} from that line" for depth in seconds if depth > 110]


def seconds_per_iteration(row: Row, shared: set[Any]) -> float:
    """The median over the turns of these groups."""
    speeds = [speed for result in row["results"] if result["at"] in shared for speed in result["speeds"]]
    return row["images"] / statistics.median(speeds)


def together_lines(rows: list[Row]) -> list[str]:
    """Images per second of all processes and of each, and the gain over one process alone."""
    lines: list[str] = []
    for own in rows:
        if own["measure"] == "together":
            total = own["images_per_second_median"]
            same = {key: own[key] for key in ("network", "measure", "engine", "precision", "deterministic")}
            alone = one(rows, processes=1, **same)
            gain = f", {quotient(own, alone)} of one alone" if alone else ""
            lines.append(f"{name(own)}: {total:,.0f} images/s, {total / own['processes']:,.0f} each{gain}")
    return lines


def draw(rows: list[Row], path: Path, title: str) -> None:
    """A bar for each row, with its quartiles."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shade = {"usual": "#c8c8c8", "resexp": "#2b3a8c", "bare": "#8fb8de", "floor": "#e6e6e6", "together": "#5b7fc4"}
    values = [row["images_per_second_median"] for row in rows]
    figure, axes = pyplot.subplots(figsize=(8, 0.7 + 0.32 * len(rows)), layout="constrained")
    places = range(len(rows))
    spread = [
        (value - (row["low"] or value), (row["high"] or value) - value) for value, row in zip(values, rows, strict=True)
    ]
    colours = [shade[row["measure"]] for row in rows]
    bars = axes.barh(places, values, color=colours, xerr=list(zip(*spread, strict=True)), ecolor="#777777", capsize=2)
    axes.set_yticks(places, [name(row) for row in rows])
    axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    axes.set_xlabel("training images per second: median and quartiles of the turns")
    figure.savefig(path, dpi=150, metadata={"Software": None})


def name(row: Row) -> str:
    """What tells a row from the others, in words."""
    words = [str(row[key]) for key in ("network", "measure", "engine", "precision")]
    if row["measure"] == "together":
        words[1] = f"{row['processes']} at once"
    words += ["contiguous"] if row["layout"] == "contiguous" else []
    words += ["deterministic"] if row["deterministic"] is True else []
    return " ".join(words).strip()

"""Plates -> PNG, SVG and PDF, the same bytes for the same study. matplotlib is imported here and nowhere else."""

import io
import math
import re
import textwrap
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from resexp.analysis.study import title
from resexp.report.figures import short
from resexp.report.spec import Axis, Curve, Panel, Plate
from resexp.report.style import GRID, INK, MUTED, PAPER, Style, styles_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_WIDTH, PANEL_HEIGHT = 4.8, 3.7
HEIGHT = 5.0
"""Of a figure with one row of panels and four lines of caption."""
ROW, LINE = 4.1, 0.156
"""Inches that another row of panels adds, and another line of the caption."""
COLUMNS = 2
LEFT = 0.42
"""Inches left of the axes, for their numbers."""
DPI = 150
LABEL_GAP = 0.047
"""Smallest distance of two labels, as a part of the panel's height."""
LABEL_START = 1.07
"""Where labels begin, in widths of the axes."""
LONGEST_LABEL = 24

METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}
"""Kinds of files, and what would differ between two of the same figure or names the program."""

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "svg.hashsalt": "resexp",
}


@contextmanager
def _settings() -> Generator[None, None, None]:
    """matplotlib's defaults, whatever the user's own file says, and ours on top."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)  # pyright: ignore[reportArgumentType, reportCallIssue]
        yield


def draw(plate: Plate) -> dict[str, bytes]:
    """A whole figure with title and caption, by file name: as PNG, SVG and PDF."""
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(plate.panels))
    rows = -(-len(plate.panels) // columns)
    words = " ".join(filter(None, [f"{plate.setting}.", *plate.key, plate.caption]))
    caption = textwrap.fill(words, 75 * columns)
    more = LINE * max(0, caption.count("\n") - 3)
    width, height = PANEL_WIDTH * columns, HEIGHT + ROW * (rows - 1) + more
    with _settings():
        figure = Figure(figsize=(width, height))
        left = LEFT / width
        figure.text(left, 1 - 0.225 / height, plate.title, fontsize=13, fontweight="bold")
        below = (0.625 + more) / height
        figure.text(left, below, caption, fontsize=8, color=MUTED, va="top", linespacing=1.4)
        for number, panel in enumerate(plate.panels):
            row, column = divmod(number, columns)
            bottom = 1.175 + more + ROW * (rows - 1 - row)
            place = (left + column / columns, bottom / height, _axes_width(plate) / width, 3.175 / height)
            _draw_panel(figure.add_axes(place), panel, plate)
        return {f"{plate.name}.{kind}": _save(figure, kind) for kind in METADATA}


def draw_panels(plate: Plate) -> list[str]:
    """Each panel by itself as an element of SVG for a page, with titles that a mouse shows.

    Its letters are text; only what is referred to has an id, which is unique in the panel alone.
    """
    import matplotlib
    from matplotlib.figure import Figure

    drawn: list[str] = []
    with _settings():
        matplotlib.rcParams["svg.fonttype"] = "none"
        for panel in plate.panels:
            figure = Figure(figsize=(PANEL_WIDTH, PANEL_HEIGHT))
            place = (LEFT / PANEL_WIDTH, 0.135, _axes_width(plate) / PANEL_WIDTH, 0.775)
            axes = figure.add_axes(place)
            _draw_panel(axes, panel, plate)
            svg = _save(figure, "svg").decode()
            svg = re.sub(
                r"(?s)^.*?(?=<svg)|<metadata>.*?</metadata>|<style.*?</style>| (?:width|height)=\"\S*pt\"", "", svg
            )
            svg = re.sub(r"<g id=\"[^\"]*\"", "<g", svg)
            drawn.append(svg.replace("</svg>", f'<g class="hover">{"".join(_hover(axes, panel))}</g></svg>'))
    return drawn


def _hover(axes: "Axes", panel: Panel) -> Generator[str, None, None]:
    """Unseen lines of seeds, and unseen points on the lines that stand for themselves, each with a title."""
    scale, bottom = 72 / axes.figure.dpi, 72 * PANEL_HEIGHT
    for curve in panel.curves:
        name = re.sub(f"^{re.escape(short(curve.network))}(?= |$)", title(curve.network), curve.label)
        names = {seed: f"{name}, seed {seed}" for seed in curve.seeds}
        read = [(name, curve.mean)] if curve.mean else [(names[seed], line) for seed, line in curve.seeds.items()]
        for seed, line in curve.thin.items() if curve.mean else ():
            shown = [point for point in line if panel.y.low <= point[1] <= panel.y.high]
            at = axes.transData.transform(shown) * scale if shown else []
            places = " ".join(f"{left:.0f},{bottom - up:.0f}" for left, up in at)
            end = panel.y.said(line[-1][1], len(line) - 1, len(line))
            yield f'<polyline points="{places}"><title>{escape(names[seed])}: ends at {end}</title></polyline>'
        for words, line in read:
            for index, (x, y) in enumerate(line):
                if panel.y.low <= y <= panel.y.high:
                    left, up = axes.transData.transform((x, y)) * scale
                    at = f"{panel.x.label.partition(',')[0]} {panel.x.said(x, index, len(line))}"
                    said = escape(f"{words}, {at}: {panel.y.said(y, index, len(line))}")
                    yield f'<circle cx="{left:.1f}" cy="{bottom - up:.1f}" r="3"><title>{said}</title></circle>'


def draw_onto(plate: Plate, axes: Sequence["Axes"]) -> None:
    """Draw each panel onto axes of one's own, as many as there are; names of curves stand right of them."""
    for own, panel in zip(axes, plate.panels, strict=True):
        _draw_panel(own, panel, plate)


def _axes_width(plate: Plate) -> float:
    """Inches that the labels at the ends of the curves leave to the axes."""
    longest = max(len(_label(curve, panel)) for panel in plate.panels for curve in panel.curves)
    return (PANEL_WIDTH - LEFT - 0.075 * max(longest, 8)) / LABEL_START


def _label(curve: Curve, panel: Panel) -> str:
    """Its name, shortened if need be, and an arrow if it ends above the axes."""
    short = curve.label if len(curve.label) <= LONGEST_LABEL else f"{curve.label[: LONGEST_LABEL - 1]}…"
    return f"{short} ↑" if curve.end > panel.y.high else short


def _save(figure: "Figure", kind: str) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=DPI, metadata=METADATA[kind])  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def _draw_panel(axes: "Axes", panel: Panel, plate: Plate) -> None:
    styles = styles_of(sorted({curve.network for other in plate.panels for curve in other.curves}), plate.rising)
    axes.set_title(panel.title, pad=9)
    axes.set(xlim=(panel.x.low, panel.x.high), xlabel=panel.x.label)
    axes.set(yscale="log" if panel.y.log else "linear", ylim=(panel.y.low, panel.y.high))
    axes.set_xticks(*map(list, zip(*panel.x.ticks, strict=True)))
    axes.set_yticks(*map(list, zip(*panel.y.ticks, strict=True)))
    axes.minorticks_off()
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    for line in panel.lines:
        axes.axvline(line, color=GRID, linewidth=0.8, zorder=0.5)
    for curve in panel.curves:
        _draw_curve(axes, curve, styles[curve.network], panel.y.high)
    for network, test, at, error in panel.points:
        style = styles[network]
        size = 6.5 if test else 5.5
        axes.plot([at], [error], style.marker, ms=size, mfc="none", mec=style.color, mew=1.2, zorder=5)
    if panel.curves:
        _label_ends(axes, panel, styles)
    else:
        axes.text(0.5, 0.5, "no finished run", transform=axes.transAxes, ha="center", color=MUTED)


def _draw_curve(axes: "Axes", curve: Curve, style: Style, top: float) -> None:
    """Its mean, bold, over thin lines for the seeds; without a mean each seed is drawn to be read by itself."""
    from matplotlib.collections import LineCollection

    dashes: Any = (3.2, 1.4) if curve.dashed else (1, 0)
    faint = 0.5 * min(1.0, 5 / max(1, len(curve.thin)))  # many seeds must not hide the means
    look: dict[str, Any] = {"linewidths": 0.7, "alpha": faint, "zorder": 2}
    if not curve.mean:
        look = {"linewidths": 0.9, "alpha": 0.8, "zorder": 3, "linestyles": (0, dashes) if curve.dashed else "solid"}
    axes.add_collection(LineCollection([*curve.thin.values()], colors=style.color, **look), autolim=False)
    if curve.mean:
        x, y = zip(*curve.mean, strict=True)
        axes.plot(x, y, color=style.color, linewidth=style.width, dashes=dashes, dash_capstyle="butt", zorder=3)
    for points in [curve.mean] if curve.mean else curve.seeds.values():
        if points[-1][1] <= top:
            axes.plot(*points[-1], style.marker, color=style.color, ms=4.2, mew=0, clip_on=False, zorder=4)


def spread(wanted: list[float], gap: float) -> list[float]:
    """Heights from 0 to 1 near the wanted ones, in their order, no two closer than `gap` if that is possible."""
    gap = min(gap, 1 / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = list(wanted)
    for below, index in pairwise(order):
        placed[index] = max(placed[index], placed[below] + gap)
    limit = 1.0
    for index in reversed(order):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - gap
    return placed


def _height(value: float, axis: Axis) -> float:
    """Where a value stands on an axis, from 0 to 1; what is off it stands at its end."""
    low, high = (math.log(axis.low), math.log(axis.high)) if axis.log else (axis.low, axis.high)
    at = math.log(max(value, axis.low)) if axis.log else value
    return min(max((at - low) / (high - low), 0.0), 1.0)


def _label_ends(axes: "Axes", panel: Panel, styles: dict[str, Style]) -> None:
    """Name each curve at its end, outside the axes, with a line from the curve to its name."""
    ends = [_height(curve.end, panel.y) for curve in panel.curves]
    places = spread(ends, LABEL_GAP)
    for curve, end, place in zip(panel.curves, ends, places, strict=True):
        color = styles[curve.network].color
        x = [1.012, 1.03, 1.05, 1.062]
        y = [end, end, place, place]
        axes.plot(x, y, transform=axes.transAxes, color=color, linewidth=0.6, clip_on=False)
        text = _label(curve, panel)
        axes.text(LABEL_START, place, text, transform=axes.transAxes, color=color, fontsize=8.5, va="center_baseline")

"""Plates -> PNG and SVG, the same bytes for the same study. matplotlib is imported here and nowhere else."""

import io
import textwrap
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from resexp.report.curves import TRAIN, Curve, Panel, Plate
from resexp.report.style import GRID, INK, MUTED, PAPER, Style, styles_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 9.6, 5.0
PANEL_WIDTH, PANEL_HEIGHT = 4.8, 3.7
DPI = 150
LABEL_GAP = 0.047
"""Smallest distance of two labels, as a part of the panel's height."""

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
}


@contextmanager
def _settings(salt: str) -> Generator[None, None, None]:
    """matplotlib's defaults, whatever the person's own file says, and ours on top."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC | {"svg.hashsalt": salt})
        yield


def draw(plate: Plate) -> tuple[bytes, bytes]:
    """A whole figure with title and caption, as PNG and SVG."""
    from matplotlib.figure import Figure

    with _settings(plate.name):
        figure = Figure(figsize=(WIDTH, HEIGHT))
        figure.text(0.06, 0.955, plate.title, fontsize=13, fontweight="bold")
        figure.text(0.06, 0.125, textwrap.fill(plate.caption, 132), fontsize=8, color=MUTED, va="top", linespacing=1.4)
        for number, panel in enumerate(plate.panels):
            axes = figure.add_axes((0.06 + 0.48 * number, 0.235, 0.365, 0.635))
            _draw_panel(axes, panel, plate)
        return _save(figure, "png"), _save(figure, "svg")


def draw_panels(plate: Plate, salt: str) -> list[str]:
    """Each panel by itself as SVG, to stand side by side or below each other in a page."""
    from matplotlib.figure import Figure

    drawn: list[str] = []
    for number, panel in enumerate(plate.panels):
        with _settings(f"{salt} {plate.name} {number}"):
            figure = Figure(figsize=(PANEL_WIDTH, PANEL_HEIGHT))
            _draw_panel(figure.add_axes((0.115, 0.135, 0.72, 0.775)), panel, plate)
            drawn.append(_save(figure, "svg").decode())
    return drawn


def _save(figure: "Figure", kind: str) -> bytes:
    file = io.BytesIO()
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[kind]
    figure.savefig(file, format=kind, dpi=DPI, metadata=metadata)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def _draw_panel(axes: "Axes", panel: Panel, plate: Plate) -> None:
    styles = styles_of(sorted({curve.network for other in plate.panels for curve in other.curves}))
    axes.set_title(panel.title, pad=9)
    axes.set_xlim(0, plate.iterations)
    axes.set_ylim(0, 100 * plate.top)
    quarters = [round(plate.iterations * part / 4) for part in range(5)]
    axes.set_xticks(quarters, [f"{at:,}" for at in quarters])
    axes.set_xlabel("iteration")
    axes.set_ylabel(panel.axis)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    for drop in plate.drops:
        if drop < plate.iterations:
            axes.axvline(drop, color=GRID, linewidth=0.8, zorder=0.5)
    for curve in panel.curves:
        _draw_curve(axes, curve, styles[curve.network])
    for network, kind, at, error in panel.points:
        style = styles[network]
        size = 5.5 if kind == TRAIN else 6.5
        axes.plot([at], [100 * error], style.marker, ms=size, mfc="none", mec=style.color, mew=1.2, zorder=5)
    if panel.curves:
        _label_ends(axes, panel.curves, styles, plate)
    else:
        axes.text(0.5, 0.5, "no finished run", transform=axes.transAxes, ha="center", color=MUTED)


def _draw_curve(axes: "Axes", curve: Curve, style: Style) -> None:
    dashes = (3.2, 1.4) if curve.kind == TRAIN and " " in curve.label else (1, 0)
    for points in curve.seeds:
        x, y = zip(*points, strict=True)
        line = axes.plot(x, [100 * error for error in y], color=style.color, linewidth=0.5, alpha=0.4, zorder=2)
        line[0].set_solid_joinstyle("round")
    x, y = zip(*curve.mean, strict=True)
    percent = [100 * error for error in y]
    axes.plot(x, percent, color=style.color, linewidth=style.width, dashes=dashes, dash_capstyle="butt", zorder=3)
    axes.plot(x[-1:], percent[-1:], style.marker, color=style.color, ms=4.2, mew=0, clip_on=percent[-1] > 100, zorder=4)


def spread(wanted: list[float], gap: float) -> list[float]:
    """Heights from 0 to 1 near the wanted ones, in their order, no two closer than `gap` as long as there is room."""
    gap = min(gap, 1 / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    blocks: list[list[int]] = []
    starts: list[float] = []

    def start(block: list[int]) -> float:
        middle = sum(wanted[index] - gap * place for place, index in enumerate(block)) / len(block)
        return min(max(middle, 0.0), 1 - gap * (len(block) - 1))

    for index in order:
        block = [index]
        while blocks and starts[-1] + gap * len(blocks[-1]) > start(block):
            block = blocks.pop() + block
            starts.pop()
        blocks.append(block)
        starts.append(start(block))
    placed = [0.0] * len(wanted)
    for begin, block in zip(starts, blocks, strict=True):
        for place, index in enumerate(block):
            placed[index] = begin + gap * place
    return placed


def _label_ends(axes: "Axes", curves: list[Curve], styles: dict[str, Style], plate: Plate) -> None:
    """Name each curve at its end, outside the axes, with a line from the curve to its name."""
    ends = [min(curve.mean[-1][1] / plate.top, 1.0) for curve in curves]
    places = spread(ends, LABEL_GAP)
    for curve, end, place in zip(curves, ends, places, strict=True):
        color = styles[curve.network].color
        x = [1.012, 1.03, 1.05, 1.062]
        y = [end, end, place, place]
        axes.plot(x, y, transform=axes.transAxes, color=color, linewidth=0.6, clip_on=False)
        off = curve.mean[-1][1] > plate.top
        text = f"{curve.label} ↑" if off else curve.label
        axes.text(1.07, place, text, transform=axes.transAxes, color=color, fontsize=8.5, va="center_baseline")

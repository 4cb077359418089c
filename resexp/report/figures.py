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

PANEL_WIDTH, PANEL_HEIGHT = 4.8, 3.7
HEIGHT = 5.0
LEFT = 0.42
"""Inches left of the axes, for their numbers."""
DPI = 150
LABEL_GAP = 0.047
"""Smallest distance of two labels, as a part of the panel's height."""
LABEL_START = 1.07
"""Where labels begin, in widths of the axes."""
LONGEST_LABEL = 24

TICKS = (1, 2, 5, 10, 20)
"""Distances of ticks on the error axis, in percent."""

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
        settings: Any = RC | {"svg.hashsalt": salt}
        matplotlib.rcParams.update(settings)
        yield


def draw(plate: Plate) -> tuple[bytes, bytes]:
    """A whole figure with title and caption, as PNG and SVG."""
    from matplotlib.figure import Figure

    with _settings(plate.name):
        figure = Figure(figsize=(PANEL_WIDTH * len(plate.panels), HEIGHT))
        left, width = LEFT / figure.get_figwidth(), _axes_width(plate) / figure.get_figwidth()
        figure.text(left, 0.955, plate.title, fontsize=13, fontweight="bold")
        figure.text(left, 0.125, textwrap.fill(plate.caption, 150), fontsize=8, color=MUTED, va="top", linespacing=1.4)
        for number, panel in enumerate(plate.panels):
            axes = figure.add_axes((left + number / len(plate.panels), 0.235, width, 0.635))
            _draw_panel(axes, panel, plate)
        return _save(figure, "png"), _save(figure, "svg")


def draw_panels(plate: Plate, salt: str) -> list[str]:
    """Each panel by itself as SVG, to stand side by side or below each other in a page."""
    from matplotlib.figure import Figure

    drawn: list[str] = []
    for number, panel in enumerate(plate.panels):
        with _settings(f"{salt} {plate.name} {number}"):
            figure = Figure(figsize=(PANEL_WIDTH, PANEL_HEIGHT))
            place = (LEFT / PANEL_WIDTH, 0.135, _axes_width(plate) / PANEL_WIDTH, 0.775)
            _draw_panel(figure.add_axes(place), panel, plate)
            drawn.append(_save(figure, "svg").decode())
    return drawn


def _axes_width(plate: Plate) -> float:
    """Inches that the labels at the ends of the curves leave to the axes."""
    longest = max(len(_label(curve, plate)) for panel in plate.panels for curve in panel.curves)
    return (PANEL_WIDTH - LEFT - 0.075 * max(longest, 8)) / LABEL_START


def _label(curve: Curve, plate: Plate) -> str:
    """Its name, shortened if need be, and an arrow if it ends above the axes."""
    short = curve.label if len(curve.label) <= LONGEST_LABEL else f"{curve.label[: LONGEST_LABEL - 1]}…"
    return f"{short} ↑" if curve.mean[-1][1] > plate.top else short


def _save(figure: "Figure", kind: str) -> bytes:
    file = io.BytesIO()
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[kind]
    figure.savefig(file, format=kind, dpi=DPI, metadata=metadata)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def _draw_panel(axes: "Axes", panel: Panel, plate: Plate) -> None:
    styles = styles_of(sorted({curve.network for other in plate.panels for curve in other.curves}))
    step = next(step for step in TICKS if 100 * plate.top / step <= 6)
    axes.set_title(panel.title, pad=9)
    axes.set_xlim(0, plate.iterations)
    axes.set_ylim(0, 100 * plate.top)
    quarters = [round(plate.iterations * part / 4) for part in range(5)]
    axes.set_xticks(quarters, [f"{at:,}" for at in quarters])
    axes.set_xlabel("iteration")
    axes.set_yticks([step * number for number in range(100) if step * number <= 100 * plate.top + 1e-9])
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    for drop in plate.drops:
        if drop < plate.iterations:
            axes.axvline(drop, color=GRID, linewidth=0.8, zorder=0.5)
    for curve in panel.curves:
        _draw_curve(axes, curve, styles[curve.network], 100 * plate.top)
    for network, kind, at, error in panel.points:
        style = styles[network]
        size = 5.5 if kind == TRAIN else 6.5
        axes.plot([at], [100 * error], style.marker, ms=size, mfc="none", mec=style.color, mew=1.2, zorder=5)
    if panel.curves:
        _label_ends(axes, panel.curves, styles, plate)
    else:
        axes.text(0.5, 0.5, "no finished run", transform=axes.transAxes, ha="center", color=MUTED)


def _draw_curve(axes: "Axes", curve: Curve, style: Style, top: float) -> None:
    dashes = (3.2, 1.4) if curve.dashed else (1, 0)
    for points in curve.seeds:
        x, y = zip(*points, strict=True)
        line = axes.plot(x, [100 * error for error in y], color=style.color, linewidth=0.5, alpha=0.3, zorder=2)
        line[0].set_solid_joinstyle("round")
    x, y = zip(*curve.mean, strict=True)
    percent = [100 * error for error in y]
    axes.plot(x, percent, color=style.color, linewidth=style.width, dashes=dashes, dash_capstyle="butt", zorder=3)
    if percent[-1] <= top:
        axes.plot(x[-1:], percent[-1:], style.marker, color=style.color, ms=4.2, mew=0, clip_on=False, zorder=4)


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
        text = _label(curve, plate)
        axes.text(LABEL_START, place, text, transform=axes.transAxes, color=color, fontsize=8.5, va="center_baseline")

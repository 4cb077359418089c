"""Colour, line width and marker of each network: one table for every figure.

Plain networks are warm, residual ones cold, a pair that colour-blind readers tell apart. The deeper, the darker and the
wider, so that depth is read in black and white too.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Style(NamedTuple):
    """How a network is drawn."""

    color: str
    width: float
    marker: str


STYLES = {
    "plain20": Style("#cc8100", 1.1, "o"),
    "plain32": Style("#d2601a", 1.3, "s"),
    "plain44": Style("#b8332f", 1.5, "^"),
    "plain56": Style("#7f1638", 1.8, "D"),
    "plain110": Style("#3f0a2c", 2.1, "v"),
    "resnet20": Style("#1f9cc4", 1.1, "o"),
    "resnet32": Style("#1f7fc0", 1.3, "s"),
    "resnet44": Style("#2b5cae", 1.5, "^"),
    "resnet56": Style("#2f3a8a", 1.8, "D"),
    "resnet110": Style("#1d1a56", 2.1, "v"),
    "resnet1202": Style("#0b0b1c", 2.4, "P"),
}

OTHERS = (
    Style("#3c7a3c", 1.3, "X"),
    Style("#7a4fa3", 1.3, "*"),
    Style("#8a6d3b", 1.3, "<"),
    Style("#5c6670", 1.3, ">"),
    Style("#a0427a", 1.3, "p"),
)
"""For networks that are none of the paper's, in their order in the study."""

RAMP = ("#d9a21b", "#5ba36b", "#2b6f8a", "#3b1f5f")
"""For the values of one setting in order, and what lies between."""
MARKERS = "os^DvP"

INK, MUTED, GRID, PAPER = "#1c1c1f", "#66666c", "#dededf", "#fefefe"
"""Text and axes, captions, grid lines, background."""


def styles_of(names: list[str], rising: Sequence[str] = ()) -> dict[str, Style]:
    """A style for each network of a group, and for each value of a setting."""
    others = [name for name in names if name not in STYLES and name not in rising]
    styles = STYLES | {name: OTHERS[number % len(OTHERS)] for number, name in enumerate(others)}
    for number, name in enumerate(rising):
        part = number / max(1, len(rising) - 1)
        styles[name] = Style(_between(part), 1.2 + 0.8 * part, MARKERS[number % len(MARKERS)])
    return styles


def _between(part: float) -> str:
    """A colour of RAMP, from 0 to 1."""
    at = part * (len(RAMP) - 1)
    low = min(int(at), len(RAMP) - 2)
    pairs = zip(*(bytes.fromhex(color[1:]) for color in RAMP[low : low + 2]), strict=True)
    return "#" + bytes(round(a + (at - low) * (b - a)) for a, b in pairs).hex()

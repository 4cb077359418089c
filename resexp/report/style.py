"""Colour, line width and marker of each network: one table for every figure.

Plain networks are warm, residual ones cold, a pair that colour-blind readers tell apart. The deeper, the darker and the
wider, so that depth is read in black and white too.
"""

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

INK, MUTED, GRID, PAPER = "#1c1c1f", "#66666c", "#dededf", "#fefefe"
"""Text and axes, captions, grid lines, background."""


def styles_of(names: list[str]) -> dict[str, Style]:
    """A style for each network of a group."""
    others = [name for name in names if name not in STYLES]
    return STYLES | {name: OTHERS[number % len(OTHERS)] for number, name in enumerate(others)}

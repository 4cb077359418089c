"""Colour, line width and marker of each network: one table for every figure.

Plain networks are warm, residual ones cold, a pair that colour-blind readers tell apart. The deeper, the darker and the
wider (on dark pages, the brighter), so that depth is read in black and white too.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """How a network is drawn; `dark` is its colour on a dark page."""

    color: str
    dark: str
    width: float
    marker: str


STYLES = {
    "plain20": Style("#cc8100", "#a8690f", 1.1, "o"),
    "plain32": Style("#d2601a", "#cc6e2c", 1.3, "s"),
    "plain44": Style("#b8332f", "#e58060", 1.5, "^"),
    "plain56": Style("#7f1638", "#f7a593", 1.8, "D"),
    "plain110": Style("#3f0a2c", "#ffd5cc", 2.1, "v"),
    "resnet20": Style("#1f9cc4", "#287c9b", 1.1, "o"),
    "resnet32": Style("#1f7fc0", "#3d8fc0", 1.3, "s"),
    "resnet44": Style("#2b5cae", "#6aa9e6", 1.5, "^"),
    "resnet56": Style("#2f3a8a", "#a6c4ff", 1.8, "D"),
    "resnet110": Style("#1d1a56", "#d5e0ff", 2.1, "v"),
    "resnet1202": Style("#0b0b1c", "#f4f6ff", 2.4, "P"),
}

OTHERS = (
    Style("#3c7a3c", "#7cc47c", 1.3, "X"),
    Style("#7a4fa3", "#b894dd", 1.3, "*"),
    Style("#8a6d3b", "#c9a86a", 1.3, "<"),
    Style("#5c6670", "#a0abb6", 1.3, ">"),
    Style("#a0427a", "#e08abf", 1.3, "p"),
)
"""For networks that are none of the paper's, in their order in the study."""

INK, MUTED, GRID, PAPER = "#1c1c1f", "#66666c", "#dededf", "#fefefe"
"""Text and axes, captions, grid lines, background."""

VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--line", PAPER: "--paper"} | {
    style.color: f"--n{number}" for number, style in enumerate((*STYLES.values(), *OTHERS))
}
"""What a colour of a figure becomes in a page: a CSS variable, which has another value on a dark page."""


def styles_of(names: list[str]) -> dict[str, Style]:
    """A style for each network of a group."""
    others = [name for name in names if name not in STYLES]
    return {name: STYLES[name] for name in names if name in STYLES} | {
        name: OTHERS[number % len(OTHERS)] for number, name in enumerate(others)
    }

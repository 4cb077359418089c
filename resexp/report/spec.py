"""Figures before they are drawn, curves in panels with axes, and tables of text. No matplotlib."""

import statistics
from dataclasses import dataclass, field

from resexp.formatting import aligned

Points = list[tuple[float, float]]

MOST_THIN = 20
"""Seeds whose thin lines are drawn under their mean: of more nobody could see each."""


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic axis; `ticks` are places and what is written there."""

    low: float
    high: float
    ticks: list[tuple[float, str]]
    label: str = ""
    log: bool = False


@dataclass(frozen=True)
class Curve:
    """One quantity of one network: thin lines for its seeds, and their mean, which may be empty or have gaps (nan)."""

    network: str
    label: str
    dashed: bool
    seeds: list[Points]
    mean: Points

    @property
    def thin(self) -> list[Points]:
        """The lines of seeds that are drawn: all of them, unless there are many under a mean."""
        return self.seeds[:MOST_THIN] if self.mean else self.seeds

    @property
    def end(self) -> float:
        """Where its label belongs."""
        return self.mean[-1][1] if self.mean else statistics.fmean(points[-1][1] for points in self.seeds)


@dataclass(frozen=True)
class Panel:
    """Curves that share axes; `points` are the paper's, as (network, whether test error, place, value)."""

    title: str
    curves: list[Curve]
    x: Axis
    y: Axis
    alt: str
    """What it shows, for those who do not see it."""
    lines: list[float] = field(default_factory=list[float])
    """Places of vertical lines."""
    points: list[tuple[str, bool, int, float]] = field(default_factory=list[tuple[str, bool, int, float]])


@dataclass(frozen=True)
class Plate:
    """One figure: panels, two in a row. `setting` names data and recipe, which the page says once."""

    name: str
    title: str
    panels: list[Panel]
    setting: str
    caption: str
    rising: list[str] = field(default_factory=list[str])
    """Of its curves those that stand for values of one setting, in order; they are drawn from light to dark."""


@dataclass(frozen=True)
class Table:
    """Cells as people read them; the columns in `text` stand left, numbers right."""

    caption: str
    heading: list[str]
    rows: list[list[str]]
    text: set[int] = field(default_factory=lambda: {0})

    def terminal(self) -> str:
        """Columns of spaces."""
        return aligned([self.heading, *self.rows], self.text)

    def records(self) -> list[dict[str, str]]:
        """Each row by its headings."""
        return [dict(zip(self.heading, row, strict=True)) for row in self.rows]

    def markdown(self) -> str:
        """A table of Markdown."""
        rule = ["---" if number in self.text else "---:" for number in range(len(self.heading))]
        escaped = [[cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in self.rows]
        return "".join(f"| {' | '.join(row)} |\n" for row in (self.heading, rule, *escaped))

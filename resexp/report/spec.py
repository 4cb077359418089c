"""Figures before they are drawn, curves in panels with axes, and tables of text. No matplotlib."""

import statistics
from dataclasses import dataclass, field

from resexp.formatting import ABSENT, number, tabulated

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
    percent: bool = False
    """Whether fractions are written as percent."""
    counted: bool = False
    """Whether places are the first, second, third... of many, from 0 to 1."""
    backwards: bool = False
    """Whether the last of them stands first."""

    def said(self, value: float, index: int, count: int) -> str:
        """A value on it in words, that of the point `index` of `count`: 4.72%, 3 of 27, recipe.lr 0.1."""
        if self.counted:
            return f"{count - index if self.backwards else index + 1} of {count}"
        if self.percent:
            return f"{100 * value:.2f}%"
        return dict(self.ticks).get(value) or (f"{value:,.0f}" if value == round(value) else number(value))


@dataclass(frozen=True)
class Curve:
    """One quantity of one network: thin lines for its seeds, and their mean, which may be empty or have gaps (nan)."""

    network: str
    label: str
    dashed: bool
    seeds: dict[int, Points]
    mean: Points

    @property
    def thin(self) -> dict[int, Points]:
        """The lines of seeds that are drawn: all of them, unless there are many under a mean."""
        return dict([*self.seeds.items()][: MOST_THIN if self.mean else None])

    @property
    def lines(self) -> list[Points]:
        """The mean and all seeds."""
        return [self.mean, *self.seeds.values()]

    @property
    def end(self) -> float:
        """Where its label belongs."""
        return self.mean[-1][1] if self.mean else statistics.fmean(points[-1][1] for points in self.seeds.values())


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
    key: list[str] = field(default_factory=list[str])
    """Sentences on how to read it, some empty; the page says each once."""
    rising: list[str] = field(default_factory=list[str])
    """Of its curves those that stand for values of one setting, in order; they are drawn from light to dark."""


@dataclass(frozen=True)
class Table:
    """Cells as people read them; the columns in `text` stand left, numbers right."""

    caption: str
    heading: list[str]
    rows: list[list[str]]
    text: set[int] = field(default_factory=lambda: {0})

    @property
    def filled(self) -> list[int]:
        """The columns in which something stands."""
        return [at for at in range(len(self.heading)) if {row[at] for row in self.rows} != {ABSENT}]

    def only(self, *wanted: str) -> "Table":
        """The columns with these headings."""
        at = [self.heading.index(name) for name in wanted]
        rows = [[row[column] for column in at] for row in self.rows]
        return Table(self.caption, [*wanted], rows, {new for new, old in enumerate(at) if old in self.text})

    def terminal(self) -> str:
        """Columns of spaces."""
        return tabulated(self.heading, self.rows, self.text)

    def records(self) -> list[dict[str, str]]:
        """Each row by its headings."""
        return [dict(zip(self.heading, row, strict=True)) for row in self.rows]

    def markdown(self) -> str:
        """A table of Markdown."""
        rule = ["---" if number in self.text else "---:" for number in range(len(self.heading))]
        escaped = [[cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in self.rows]
        return "".join(f"| {' | '.join(row)} |\n" for row in (self.heading, rule, *escaped))

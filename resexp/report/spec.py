"""What a figure is made of, before anything is drawn: curves in panels with axes. No matplotlib."""

from dataclasses import dataclass, field

Points = list[tuple[float, float]]


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
    """One quantity of one network: a line for each seed and their mean."""

    network: str
    kind: str
    label: str
    dashed: bool
    seeds: list[Points]
    mean: Points
    end: float
    """What the curve ends at, as tables and sentences have it."""


@dataclass(frozen=True)
class Panel:
    """Curves that share axes; `points` are the paper's, as (network, kind, place, value)."""

    title: str
    curves: list[Curve]
    x: Axis
    y: Axis
    alt: str
    """What it shows, for those who do not see it."""
    lines: list[float] = field(default_factory=list[float])
    """Places of vertical lines."""
    points: list[tuple[str, str, int, float]] = field(default_factory=list[tuple[str, str, int, float]])


@dataclass(frozen=True)
class Plate:
    """One figure: panels beside each other, two in a row."""

    name: str
    title: str
    panels: list[Panel]
    caption: str

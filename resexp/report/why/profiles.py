"""What the figures of diagnoses share: profiles along a network, axes, numbers and settings in words."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from resexp.analysis.claims import Claim
from resexp.analysis.study import Group, title
from resexp.diagnose.table import CHECKPOINT, INITIALISATION, SNAPSHOT, Measured, Subject, why_not
from resexp.formatting import few, listed, number, power_of_ten
from resexp.report.captions import seed_words
from resexp.report.spec import Axis, Curve, Plate, Points, Table

Profile = list[float]
"""A quantity of each layer or block of one network, from the images on."""

STAGES = [1 / 3, 2 / 3]
"""Where the stages meet, as parts of a network."""


@dataclass(frozen=True)
class Finding:
    """What a diagnosis shows: its figure, if it has one, a sentence, the numbers, and what becomes of claims."""

    plate: Plate | None
    sentence: str
    table: Table
    claims: list[Claim]
    summary: Table | None = None
    """A few cells that stand for all numbers, where these are many."""

    @property
    def tables(self) -> list[Table]:
        """All its numbers."""
        return [table for table in (self.summary, self.table) if table and table.rows]


def profile(measured: Measured, subject: Subject, quantity: str) -> Profile:
    """A quantity in the order of its positions."""
    readings = [reading for reading in measured[subject] if reading.quantity == quantity]
    return [reading.value for reading in sorted(readings, key=lambda reading: reading.position)]


def by_network(subjects: Iterable[Subject]) -> dict[str, list[Subject]]:
    """Subjects by network, plain before residual, by depth; seeds in order."""
    networks: dict[str, list[Subject]] = {}
    for subject in sorted(subjects, key=lambda one: (one.family, one.depth, one.network, one.seed)):
        networks.setdefault(subject.network, []).append(subject)
    return networks


def along(values: Profile) -> Points:
    """A profile over relative positions, 0 to 1, so that networks of all depths span the axis; nan is left out."""
    last = max(1, len(values) - 1)
    return [(index / last, value) for index, value in enumerate(values) if not math.isnan(value)]


def with_mean(
    network: str,
    label: str,
    profiles: dict[int, Profile],
    mean: Callable[[Iterable[float]], float],
    dashed: bool = False,
) -> Curve:
    """A thin curve for each of several seeds, and their mean at each position."""
    mean_profile = [mean(values) for values in zip(*profiles.values(), strict=True)]
    thin = {seed: points for seed, values in profiles.items() if (points := along(values)) and len(profiles) > 1}
    return Curve(network, label, dashed, thin, along(mean_profile))


def _values(curves: list[Curve]) -> list[float]:
    """All that is drawn."""
    points = [point for one in curves for line in one.lines for point in line]
    return [value for _, value in points if not math.isnan(value)]


def log_axis(curves: list[Curve]) -> Axis:
    """Whole powers of ten around all curves, marked at most seven times."""
    values = _values(curves)
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    step = math.ceil((high - low) / 6)
    powers = [power for power in range(low, high + 1) if power % step == 0]
    ticks = [(10.0**power, f"{10.0**power:g}" if -3 < power < 3 else power_of_ten(power)) for power in powers]
    return Axis(10.0**low, 10.0**high, ticks, log=True)


def linear_axis(curves: list[Curve]) -> Axis:
    """From 0 to beyond the highest point of all curves, in steps of 1, 2 or 5."""
    most = max(_values(curves))
    power = 10.0 ** math.floor(math.log10(most)) if most > 0 else 1.0
    step = next(step * power for step in (0.2, 0.5, 1.0, 2.0) if most <= 6 * step * power)
    count = max(1, math.ceil(most / step))
    return Axis(0, count * step, [(index * step, f"{index * step:.3g}") for index in range(count + 1)])


def place_axis(what: str, low: str = "first", high: str = "last") -> Axis:
    """Along the network."""
    return Axis(0, 1, [(0, low), (1, high)], f"{what}, {low} to {high}", counted=True, backwards=low == "last")


def ends(curves: list[Curve]) -> str:
    """What curves end at, for those who do not see them."""
    return f"The curves end at {', '.join(f'{title(one.network)} {number(one.end)}' for one in curves)}."


def moment(subject: Subject) -> str:
    """At initialisation, during training, or after how many iterations."""
    trained = "during training" if subject.source == SNAPSHOT else f"after {subject.iteration:,} iterations"
    return "at initialisation" if subject.source == INITIALISATION else trained


def when(subject: Subject) -> str:
    """The same, and what is unlike the paper's networks: no norm, scaled weights."""
    return moment(subject) + subject.kind


def measured_words(measured: Measured, arithmetic: str = "fp32") -> str:
    """Which weights and seeds were measured, on which images, in which arithmetic."""
    weights: dict[str, dict[str, set[int]]] = {}
    for subject in measured:
        weights.setdefault(moment(subject), {}).setdefault(subject.network, set()).add(subject.seed)
    times = [f"{time}, {seed_words(seeds.values())}" for time, seeds in sorted(weights.items())]
    images = listed(sorted({subject.images for subject in measured}))
    return f"Measured {'; '.join(times)}; on {images}, in {arithmetic}."


def absent(group: Group, measured: Measured) -> str:
    """The runs of the group that are not drawn: those that cannot be, each with the reason, and those not measured."""
    drawn = {(subject.network, subject.seed) for subject in measured if subject.source == CHECKPOINT}
    left_out: list[str] = []
    of_network: dict[str, list[str]] = {"other seeds of": [], "all of": []}
    for network in group.networks:
        missing = [run for run in network.runs if (network.name, run.seed) not in drawn]
        reasons = [f"{title(network.name)} seed {run.seed} ({why})" for run in missing if (why := why_not(run, True))]
        left_out += reasons
        if len(missing) > len(reasons):
            how = "all of" if len(missing) == len(network.runs) else "other seeds of"
            of_network[how].append(title(network.name))
    unmeasured = [f"{how} {listed(names)}" for how, names in of_network.items() if names]
    words = f" Left out: {'; '.join(few(left_out))}." if left_out else ""
    return words + (f" Not measured: {'; '.join(unmeasured)}." if unmeasured else "")

"""What the drawings of diagnoses share: profiles along a network, their axes, numbers and captions in words."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resexp.analysis.claims import Claim
from resexp.analysis.study import Group, title
from resexp.diagnose.table import CHECKPOINT, INITIALISATION, PLAIN, SNAPSHOT, Measured, Subject, why_not
from resexp.formatting import listed
from resexp.report import captions
from resexp.report.spec import Axis, Curve, Plate

Profile = list[float]
"""A quantity of each layer or block of one network, from the images on."""
Mean = Callable[[Sequence[float]], float]


@dataclass(frozen=True)
class Finding:
    """What a diagnosis shows: its figure, a sentence that is true of it, and what becomes of claims."""

    plate: Plate
    sentence: str
    claims: list[Claim]


def profile(measured: Measured, subject: Subject, quantity: str) -> Profile:
    """A quantity in the order of its positions."""
    readings = [reading for reading in measured[subject] if reading.quantity == quantity]
    return [reading.value for reading in sorted(readings, key=lambda reading: reading.position)]


def by_network(subjects: Sequence[Subject]) -> dict[str, list[Subject]]:
    """Subjects by network, plain before residual, by depth; seeds in order."""
    found: dict[str, list[Subject]] = {}
    for subject in sorted(subjects, key=lambda one: (one.family, one.depth, one.network, one.seed)):
        found.setdefault(subject.network, []).append(subject)
    return found


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive numbers; not a number where one is not positive or not finite."""
    usable = all(0 < value < math.inf for value in values)
    return math.exp(statistics.fmean(map(math.log, values))) if usable else math.nan


def mean_profile(profiles: list[Profile], mean: Mean = statistics.fmean) -> Profile:
    """The mean over seeds at each position."""
    return [mean(values) for values in zip(*profiles, strict=True)]


def curve(
    network: str, label: str, profiles: list[Profile], dashed: bool = False, mean: Mean = statistics.fmean
) -> Curve:
    """A curve of profiles over their relative positions, 0 to 1, so that networks of all depths span the axis.

    A profile that holds what cannot be drawn is left out of the thin lines; of the mean, such places are.
    """
    whole = mean_profile(profiles, mean)
    places = [index / max(1, len(whole) - 1) for index in range(len(whole))]
    thin = [list(zip(places, values, strict=True)) for values in profiles if all(map(math.isfinite, values))]
    points = [(place, value) for place, value in zip(places, whole, strict=True) if math.isfinite(value)]
    return Curve(network, "", label, dashed, thin if len(profiles) > 1 else [], points, whole[-1])


def is_plain(subjects: list[Subject]) -> bool:
    """Whether it is a plain network, whose curve is dashed where both families share a panel."""
    return subjects[0].family == PLAIN


def short(network: str) -> str:
    """plain56+lr0.05 -> 56+lr0.05."""
    return network.removeprefix(PLAIN).removeprefix("resnet")


def log_axis(curves: list[Curve], label: str = "") -> Axis:
    """Whole powers of ten around all curves, marked at most seven times."""
    values = [value for one in curves for points in (one.mean, *one.seeds) for _, value in points if value > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    step = math.ceil((high - low) / 6)
    powers = [power for power in range(low, high + 1) if power % step == 0]
    ticks = [(10.0**power, f"{10.0**power:g}" if -3 < power < 3 else f"10{superscript(power)}") for power in powers]
    return Axis(10.0**low, 10.0**high, ticks, label, log=True)


def linear_axis(curves: list[Curve], label: str = "") -> Axis:
    """From 0 to beyond the highest point of all curves, in steps of 1, 2 or 5."""
    most = max(value for one in curves for points in (one.mean, *one.seeds) for _, value in points)
    power = 10.0 ** math.floor(math.log10(most)) if most > 0 else 1.0
    step = next(step * power for step in (0.2, 0.5, 1.0, 2.0) if most <= 6 * step * power)
    count = max(1, math.ceil(most / step))
    return Axis(0, count * step, [(index * step, f"{index * step:.3g}") for index in range(count + 1)], label)


def place_axis(what: str, backwards: bool = False) -> Axis:
    """Along the network; its stages meet at a third and at two thirds."""
    ends = ("last", "first") if backwards else ("first", "last")
    return Axis(0, 1, [(0, ends[0]), (1, ends[1])], f"{what}, {ends[0]} to {ends[1]}")


STAGES = [1 / 3, 2 / 3]

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def superscript(power: int) -> str:
    """6 -> ⁶."""
    return str(power).translate(SUPERSCRIPTS)


def number(value: float) -> str:
    """Two significant digits: 0.12, 4.3, 16, 7,500, 8.4·10⁶."""
    if not math.isfinite(value):
        return "not finite"
    if value == 0 or 1e-3 <= abs(value) < 99_500:
        rounded = float(f"{value:.2g}")
        return f"{rounded:,.0f}" if abs(rounded) >= 10 else f"{rounded:.2g}"
    mantissa, _, power = f"{value:.1e}".partition("e")
    times = "" if mantissa == "1.0" else f"{mantissa.removesuffix('.0')}·"
    return f"{times}10{superscript(int(power))}"


def when(subject: Subject) -> str:
    """At initialisation, or after how many iterations."""
    return "at initialisation" if subject.source == INITIALISATION else f"after {subject.iteration:,} iterations"


def caption(group: Group, measured: Measured) -> str:
    """Data set, recipe, when and over which seeds it was measured, on which images."""
    times: dict[str, dict[str, list[Subject]]] = {}
    for network, subjects in by_network([one for one in measured if one.source != SNAPSHOT]).items():
        for subject in subjects:
            of_network = times.setdefault(when(subject), {}).setdefault(network, [])
            if subject.seed not in {other.seed for other in of_network}:
                of_network.append(subject)
    parts = [
        f"{time}, {captions.seed_words(list(seeds.values())).partition(':')[0]}"
        for time, seeds in sorted(times.items(), reverse=True)
    ]
    thin = any(len(subjects) > 1 for seeds in times.values() for subjects in seeds.values())
    images = listed(sorted({subject.images for subject in measured}))
    lines = "; bold the mean over seeds, thin each seed" if thin else ""
    return f"{captions.setting_words(group)}. Measured {' and '.join(parts)}, on {images}, in fp32{lines}."


def absent(group: Group, measured: Measured) -> str:
    """The networks of the group that are not drawn, each with the reason."""
    drawn = {(subject.network, subject.seed) for subject in measured if subject.source == CHECKPOINT}
    missing = [
        f"{title(network.name)} seed {run.seed} ({why_not(run, True) or 'not measured'})"
        for network in group.networks
        for run in network.runs
        if (network.name, run.seed) not in drawn
    ]
    return f" Left out: {'; '.join(missing)}." if missing else ""

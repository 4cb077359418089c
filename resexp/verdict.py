"""Was degradation observed? Three contrasts of the final running training error, as fractions, and a word for each."""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from resexp.study import Group, Network, title

PLAIN = ("plain20", "plain56")
RESIDUAL = ("resnet20", "resnet56")
LEVEL = 0.95
MOST_SEEDS = 30

OBSERVED = "observed"
NOT_OBSERVED = "not observed"
UNDECIDED = "undecided"
ONE_SEED = "one seed: a difference without an interval"
NOTHING = "nothing to compare"
NOT_TRAINED = "nothing to compare: the shallow network did not train"

Interval = tuple[float, float]
IntervalOf = Callable[[list[float]], Interval]


def t_quantile(level: float, freedom: float) -> float:
    """The t that a Student variable of `freedom` >= 1 degrees stays within, on both sides, with probability `level`."""
    whole = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))

    def within(angle: float) -> float:
        """P(|T| < sqrt(freedom) tan(angle)), by Simpson's rule."""
        step = angle / 400
        terms = (math.cos(i * step) ** (freedom - 1) * (1 if i in (0, 400) else 2 + 2 * (i % 2)) for i in range(401))
        return sum(terms) * step / 3 / whole

    low, high = 0.0, math.pi / 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < level else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def paired_interval(differences: list[float]) -> Interval:
    """Two-sided 95% interval of the mean of two or more differences within a seed."""
    mean, n = statistics.fmean(differences), len(differences)
    half = t_quantile(LEVEL, n - 1) * statistics.stdev(differences) / math.sqrt(n)
    return mean - half, mean + half


def word(interval: Interval, margin: float) -> str:
    """The word for an interval: observed above 0, not observed below the margin, else undecided."""
    low, high = interval
    return OBSERVED if low > 0 else NOT_OBSERVED if high < margin else UNDECIDED


@dataclass(frozen=True)
class Contrast:
    """A difference between networks in final running error, seed by seed."""

    name: str
    differences: dict[int, float]
    interval: Interval | None
    word: str
    more: str = ""
    """When undecided: how many seeds would decide."""

    @property
    def seeds(self) -> int:
        """Seeds that all networks of the contrast have."""
        return len(self.differences)

    @property
    def difference(self) -> float:
        """Mean over seeds; a fraction."""
        return statistics.fmean(self.differences.values())


def make_contrast(
    name: str,
    differences: dict[int, float],
    margin: float,
    trained: bool = True,
    interval_of: IntervalOf = paired_interval,
) -> Contrast:
    """The contrast and its word; `trained` is false where the shallow network it rests on did not train."""
    values = list(differences.values())
    interval = interval_of(values) if len(values) > 1 else None
    if not trained:
        return Contrast(name, differences, interval, NOT_TRAINED)
    if interval is None:
        return Contrast(name, differences, None, ONE_SEED if values else NOTHING)
    found = word(interval, margin)
    return Contrast(name, differences, interval, found, _more_seeds(values, margin) if found == UNDECIDED else "")


def _more_seeds(values: list[float], margin: float) -> str:
    """How many seeds would decide if mean and spread stayed as they are."""
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    for n in range(len(values) + 1, MOST_SEEDS + 1):
        half = t_quantile(LEVEL, n - 1) * spread / math.sqrt(n)
        if word((mean - half, mean + half), margin) != UNDECIDED:
            return f"about {n} seeds would decide"
    return f"more than {MOST_SEEDS} seeds would be needed"


@dataclass(frozen=True)
class Verdict:
    """What depth does to plain networks, to residual ones, and the difference of the two: the paper's claim."""

    plain: Contrast
    residual: Contrast
    interaction: Contrast

    @property
    def contrasts(self) -> tuple[Contrast, Contrast, Contrast]:
        """All three."""
        return self.plain, self.residual, self.interaction


def judge(group: Group, margin: float) -> Verdict:
    """The verdict on one group; `margin` is a fraction."""
    plain = _depth_contrast(group, *PLAIN, margin)
    residual = _depth_contrast(group, *RESIDUAL, margin)
    shared = plain.differences.keys() & residual.differences.keys()
    differences = {seed: plain.differences[seed] - residual.differences[seed] for seed in sorted(shared)}
    trained = NOT_TRAINED not in (plain.word, residual.word)
    interaction = make_contrast("difference of the two", differences, margin, trained)
    return Verdict(plain, residual, interaction)


def _depth_contrast(group: Group, shallow: str, deep: str, margin: float) -> Contrast:
    """The deep network minus the shallow one."""
    ends = [_ends(group.network(name)) for name in (shallow, deep)]
    differences = {seed: ends[1][seed] - ends[0][seed] for seed in sorted(ends[0].keys() & ends[1].keys())}
    network = group.network(shallow)
    trained = network is None or all(run.trained for run in network.finished)
    return make_contrast(f"{title(deep)} minus {title(shallow)}", differences, margin, trained)


def _ends(network: Network | None) -> dict[int, float]:
    """The final running error by seed."""
    return {run.seed: run.final.running_error for run in network.finished} if network else {}

"""Was degradation observed? Contrasts between networks, their intervals, and a word for each. Errors are fractions."""

import math
import statistics
from dataclasses import dataclass, field
from functools import cached_property

from resexp.analysis.intervals import LEVEL, Interval, Term, paired_interval, t_quantile, welch_interval
from resexp.analysis.study import METRICS, Group, title

PLAIN_PAIR = ("plain20", "plain56")
RESIDUAL_PAIR = ("resnet20", "resnet56")
OTHER_DEPTHS = (32, 44, 110)
MOST_SEEDS = 30

OBSERVED = "observed"
NOT_OBSERVED = "not observed"
BETTER = "better"
UNDECIDED = "undecided"
ONE_SEED = "one seed: a difference without an interval"
NOTHING = "nothing to compare"
NOT_TRAINED = "nothing to compare: the shallow network did not train"

PAIRED, WELCH = "paired t", "Welch"

EFFECTS = {OBSERVED: "degradation", NOT_OBSERVED: "no degradation", BETTER: "improvement"}
"""What a word says about a deep network minus a shallow one."""
EFFECTS_OF_TWO = {OBSERVED: "more degradation", NOT_OBSERVED: "no more degradation", BETTER: "less degradation"}
"""And about plain minus residual networks."""


def word(interval: Interval, margin: float) -> str:
    """The word for an interval: observed above 0, better below 0, not observed below the margin, else undecided."""
    low, high = interval
    return OBSERVED if low > 0 else BETTER if high < 0 else NOT_OBSERVED if high < margin else UNDECIDED


@dataclass(frozen=True)
class Contrast:
    """A difference between networks in one of `METRICS`: paired over shared seeds, Welch where fewer than two are."""

    name: str
    metric: str
    terms: list[Term]
    margin: float
    trained: bool = True
    """False where a shallow network that it rests on did not train."""
    effects: dict[str, str] = field(default_factory=lambda: EFFECTS)

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds that all its networks have."""
        return sorted(set[int].intersection(*(set(errors) for _, errors in self.terms)))

    @property
    def used(self) -> list[list[int]]:
        """The seeds that the difference rests on: the shared ones, or with Welch those of each network, deep first."""
        return [sorted(errors) for _, errors in self.terms] if self.method == WELCH else [self.seeds]

    @cached_property
    def differences(self) -> dict[int, float]:
        """The difference within each of them."""
        return {seed: sum(sign * errors[seed] for sign, errors in self.terms) for seed in self.seeds}

    @cached_property
    def welch(self) -> Interval | None:
        """The interval that does not pair seeds."""
        return welch_interval(self.terms)

    @property
    def method(self) -> str:
        """How the interval was made; empty where there is none."""
        return PAIRED if len(self.seeds) > 1 else WELCH if self.welch else ""

    @property
    def compared(self) -> bool:
        """Whether there is a difference at all."""
        return bool(self.seeds or self.welch)

    @property
    def difference(self) -> float:
        """Mean over the shared seeds, or the difference of the means."""
        if self.method == WELCH:
            return sum(sign * statistics.fmean(errors.values()) for sign, errors in self.terms)
        return statistics.fmean(self.differences.values())

    @property
    def interval(self) -> Interval | None:
        """Two-sided 95% interval of the difference."""
        return paired_interval(list(self.differences.values())) if self.method == PAIRED else self.welch

    @property
    def one_sided(self) -> bool:
        """Whether the difference has the same sign in each of several shared seeds."""
        values = self.differences.values()
        return self.method == PAIRED and (min(values) > 0 or max(values) < 0)

    @property
    def word(self) -> str:
        """What was found."""
        if not self.trained:
            return NOT_TRAINED
        if self.interval is None:
            return ONE_SEED if self.seeds else NOTHING
        return word(self.interval, self.margin)

    @property
    def more(self) -> str:
        """When undecided: how many seeds would show what, if mean and spread are what they seem to be."""
        if self.word != UNDECIDED:
            return ""
        samples = [list(errors.values()) for _, errors in self.terms]
        if self.method == PAIRED:
            samples = [list(self.differences.values())]
        variances = [statistics.variance(sample) for sample in samples]
        exactly = range(min(map(len, samples)) + 1, MOST_SEEDS + 1)
        for n in (*exactly, *(MOST_SEEDS * 2**doubling for doubling in range(1, 12))):
            half = t_quantile(LEVEL, (n - 1) * len(variances)) * math.sqrt(sum(variances) / n)
            outcome = word((self.difference - half, self.difference + half), self.margin)
            if outcome != UNDECIDED:
                many = f"about {n}" if n <= MOST_SEEDS else f"more than {MOST_SEEDS}"
                return f"{many} seeds in all would show {self.effects[outcome]} at this mean and spread"
        return f"more than {MOST_SEEDS} seeds would be needed"


@dataclass(frozen=True)
class Verdict:
    """What depth does to plain networks, to residual ones, and the difference of the two: the paper's claim."""

    plain: Contrast
    residual: Contrast
    interaction: Contrast
    secondary: list[Contrast]
    """The same three in clean training error and in test error."""
    exploratory: list[Contrast]
    """Running training error at other depths, as far as there are runs."""

    @property
    def contrasts(self) -> tuple[Contrast, Contrast, Contrast]:
        """The three that were declared before any run."""
        return self.plain, self.residual, self.interaction

    def on_test_images(self, contrast: Contrast) -> Contrast | None:
        """One of them in test error; None where nothing can be compared."""
        same = (one for one in self.secondary if (one.name, one.metric) == (contrast.name, "test_error"))
        return next(same, None)


def judge(group: Group, margin: float) -> Verdict:
    """The verdict on one group; `margin` is a fraction."""
    primary, *others = METRICS
    secondary = [contrast for metric in others for contrast in _three(group, metric, margin)]
    pairs = [(f"{family}20", f"{family}{depth}") for family in ("plain", "resnet") for depth in OTHER_DEPTHS]
    exploratory = [depth_contrast(group, pair, primary, margin) for pair in pairs]
    return Verdict(
        *_three(group, primary, margin),
        [contrast for contrast in secondary if contrast.compared],
        [contrast for contrast in exploratory if contrast.compared],
    )


def _three(group: Group, metric: str, margin: float) -> tuple[Contrast, Contrast, Contrast]:
    plain, residual = (depth_contrast(group, pair, metric, margin) for pair in (PLAIN_PAIR, RESIDUAL_PAIR))
    terms = plain.terms + [(-sign, errors) for sign, errors in residual.terms]
    trained = plain.trained and residual.trained
    interaction = Contrast("difference of the two", metric, terms, margin, trained, EFFECTS_OF_TWO)
    return plain, residual, interaction


def depth_contrast(group: Group, pair: tuple[str, str], metric: str, margin: float) -> Contrast:
    """The deep network of a pair minus the shallow one."""
    shallow, deep = pair
    network = group.network(shallow)
    trained = network is None or all(run.trained for run in network.finished)
    above, below = (found.by_seed(metric) if found else {} for found in map(group.network, (deep, shallow)))
    terms: list[Term] = [(1, above), (-1, below)]
    return Contrast(f"{title(deep)} minus {title(shallow)}", metric, terms, margin, trained)

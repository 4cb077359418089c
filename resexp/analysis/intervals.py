"""Intervals of differences and of further seeds, from few values. t by hand: scipy would slow every start."""

import math
import statistics
from collections.abc import Iterable
from functools import cache

LEVEL = 0.95

Interval = tuple[float, float]
Term = tuple[int, dict[int, float]]
"""+1 or -1, and a network's errors by seed."""


@cache
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


def geometric_mean(values: Iterable[float]) -> float:
    """Of numbers from 0 on; nan where one is nan."""
    numbers = [*values]
    if 0 in numbers:
        return math.nan if any(map(math.isnan, numbers)) else 0.0
    return math.exp(statistics.fmean(map(math.log, numbers)))


def geometric_interval(values: list[float]) -> Interval | None:
    """Two-sided 95% interval of the geometric mean; None for fewer than two values, or where one is 0 or nan."""
    if len(values) < 2 or not all(value > 0 for value in values):
        return None
    low, high = paired_interval([math.log(value) for value in values])
    return math.exp(low), math.exp(high)


def welch_interval(terms: list[Term]) -> Interval | None:
    """The same for a sum of means over seeds that need not match; None where a network has fewer than two."""
    if any(len(errors) < 2 for _, errors in terms):
        return None
    mean = sum(sign * statistics.fmean(errors.values()) for sign, errors in terms)
    shares = [(statistics.variance(errors.values()) / len(errors), len(errors) - 1) for _, errors in terms]
    variance = sum(share for share, _ in shares)
    if not variance:
        return mean, mean
    freedom = variance**2 / sum(share**2 / free for share, free in shares)
    half = t_quantile(LEVEL, freedom) * math.sqrt(variance)
    return mean - half, mean + half


def prediction_interval(errors: list[float], level: float, images: float) -> Interval:
    """Where the error of another seed lies with probability `level`, given those of two or more seeds.

    The spread is at least the noise of counting wrong answers among `images`.
    """
    mean, n = statistics.fmean(errors), len(errors)
    rate = min(max(mean, 1 / images), 1 - 1 / images)
    variance = math.fsum((error - mean) ** 2 for error in errors) / (n - 1)
    spread = max(math.sqrt(variance), math.sqrt(rate * (1 - rate) / images))
    half = t_quantile(level, n - 1) * spread * math.sqrt(1 + 1 / n)
    return max(0.0, mean - half), min(1.0, mean + half)


def level_of_each(count: int) -> float:
    """The level of each of `count` intervals at which a normal run lies inside all of them with 95%."""
    return 1 - (1 - LEVEL) / count

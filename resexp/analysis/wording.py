"""The words of a verdict: plain for a person, each true of the data. Percent and points from here on."""

from resexp.analysis.study import Group, NetworkRuns, title
from resexp.analysis.verdict import (
    NOT_OBSERVED,
    OBSERVED,
    PAIRED,
    PLAIN_PAIR,
    RESIDUAL_PAIR,
    UNDECIDED,
    WELCH,
    Contrast,
    Interval,
    Verdict,
)
from resexp.formatting import ABSENT, listed, plural

NAMES = (*PLAIN_PAIR, *RESIDUAL_PAIR)
NAMED = 4
"""Runs named one by one before the rest is only counted."""


def digits(values: list[float]) -> int:
    """Decimals that show how small the smallest of some numbers of points is."""
    return 1 if min(abs(value) for value in values) >= 1 else 2


def points(contrast: Contrast) -> str:
    """A difference in points with its sign: "+12.3"."""
    value = 100 * contrast.difference
    return f"{value:+.{digits([value])}f}"


def interval_text(contrast: Contrast) -> str:
    """The interval in points: "3.9 to 4.7"; nothing where there is none."""
    return range_text(contrast.interval)


def range_text(interval: Interval | None) -> str:
    """Any interval of fractions, in points."""
    if interval is None:
        return ""
    low, high = (100 * end for end in interval)
    places = digits([low, high])
    return f"{low:.{places}f} to {high:.{places}f}"


def sentence(group: Group, verdict: Verdict) -> str:
    """What a group's verdict says, which of its networks did not train, and which runs are missing."""
    pairs = [(verdict.plain, *PLAIN_PAIR), (verdict.residual, *RESIDUAL_PAIR)]
    present = [pair for pair in pairs if pair[0].compared]
    if present:
        alone = all(contrast.interval is None for contrast, _, _ in present)
        mixed = len({len(contrast.seeds) for contrast in verdict.contrasts if contrast.compared}) > 1
        sure = ["" if alone else _certainty(contrast, mixed, "degradation ") for contrast, _, _ in present]
        clauses = [_clause(*pair, first=index == 0) + sure[index] for index, pair in enumerate(present)]
        closing = "; no interval can be given" if alone else _interaction(verdict.interaction, mixed)
        parts = [f"{_opening(group, [contrast for contrast, _, _ in present])}: {', '.join(clauses)}{closing}."]
    else:
        parts = ["No verdict: no network was finished at both depths with the same seed."]
    return " ".join(parts + _not_trained(group) + _absent(group) + _not_counted(group))


def _opening(group: Group, contrasts: list[Contrast]) -> str:
    seeds = {len(contrast.seeds) for contrast in contrasts}
    if any(contrast.method == WELCH for contrast in contrasts):
        return "Seeds that do not match"
    if len(seeds) > 1:
        return f"{min(seeds)} to {max(seeds)} shared seeds"
    runs = [len(network.finished) for network in map(group.network, NAMES) if network]
    n = seeds.pop()
    shared = "" if all(count in (0, n) for count in runs) else "shared "
    return f"One {shared}seed" if n == 1 else f"{n} {shared}seeds"


def _clause(contrast: Contrast, shallow: str, deep: str, first: bool) -> str:
    """plain-56 ends 12.3 points above plain-20 in running training error."""
    value = 100 * contrast.difference
    size = f"{abs(value):.{digits([value])}f}"
    where = "level with" if float(size) == 0 else f"{size} points {'above' if value > 0 else 'below'}"
    ends, measure = ("ends ", " in running training error") if first else ("", "")
    return f"{title(deep)} {ends}{where} {title(shallow)}{measure}"


def _certainty(contrast: Contrast, mixed: bool, what: str = "") -> str:
    """(95% interval 3.9 to 4.7: degradation observed); with the number of seeds where it differs between contrasts."""
    if contrast.interval is None:
        return " (one seed, no interval)"
    judged = {
        OBSERVED: f": {what}{OBSERVED}",
        NOT_OBSERVED: f": {what}{NOT_OBSERVED}",
        UNDECIDED: f": {UNDECIDED}, {contrast.more}",
    }
    seeds = f" over {plural(len(contrast.seeds), 'seed')}" if mixed and contrast.method == PAIRED else ""
    kind = "interval by Welch" if contrast.method == WELCH else "interval"
    return f" (95% {kind} {interval_text(contrast)}{seeds}{judged.get(contrast.word, '')})"


def _interaction(contrast: Contrast, mixed: bool) -> str:
    """; the added depth costs the plain network 4.8 points more than the residual one (95% interval ...: observed)."""
    if not contrast.compared:
        return ""
    more = "more" if contrast.difference >= 0 else "less"
    size = points(contrast).lstrip("+-")
    costs = f"; the added depth costs the plain network {size} points {more} than the residual one"
    return costs + _certainty(contrast, mixed)


def _not_trained(group: Group) -> list[str]:
    """A sentence for each network that stayed near chance."""
    said: list[str] = []
    for network in filter(None, map(group.network, NAMES)):
        stuck = [run for run in network.finished if not run.trained]
        if not stuck:
            continue
        some = f" in {len(stuck)} of {plural(len(network.finished), 'seed')}" if len(network.finished) > 1 else ""
        mean = 100 * sum(run.final.running_error for run in stuck) / len(stuck)
        said.append(
            f"{network.title} did not train within {group.iterations:,} iterations{some} "
            f"(running training error {mean:.1f}%)."
        )
        if network.name in (PLAIN_PAIR[0], RESIDUAL_PAIR[0]):
            said.append(f"A comparison with {network.title} therefore says nothing about depth.")
    return said


def _absent(group: Group) -> list[str]:
    """Networks that the study has no run of, and seeds that only the others have."""
    found = {name: {run.seed for run in network.runs} for name in NAMES if (network := group.network(name))}
    missing = [title(name) for name in NAMES if name not in found]
    every = set[int]().union(*found.values())
    lacking = [f"{title(name)} seed {seed}" for name, seeds in found.items() for seed in sorted(every - seeds)]
    said = [f"Not run: {listed(missing)}."] if missing else []
    return said + ([f"Missing: {_some(lacking)}."] if lacking else [])


def _not_counted(group: Group) -> list[str]:
    """Runs that are not finished, counted and named."""
    told = [f"{network.title} seed {run.seed} ({run.progress})" for network, run in group.not_counted]
    return [f"Not counted, as not finished: {_some(told)}."] if told else []


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    return listed([*names[:NAMED], *([f"{more} more"] if more > 0 else [])])


def mean_and_spread(network: NetworkRuns, metric: str, places: int = 2) -> str:
    """Mean +- sample standard deviation in percent: "5.63 ± 0.22"; a hyphen where nothing was measured."""
    mean, spread = network.mean(metric), network.spread(metric)
    if mean is None:
        return ABSENT
    return f"{100 * mean:.{places}f}" + (f" ± {100 * spread:.{places}f}" if spread is not None else "")

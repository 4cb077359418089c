"""The verdict in a sentence, true of the data. Percent and points from here on."""

import math
import statistics

from resexp.analysis.study import Group, NetworkRuns, title
from resexp.analysis.verdict import (
    BETTER,
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
from resexp.formatting import ABSENT, few, listed, plural, spans

NAMES = (*PLAIN_PAIR, *RESIDUAL_PAIR)
LEARNING = 0.01
"""Networks learn fast whose running errors fall by more in the last eighth of the iterations before the first drop."""
DECIDED = {OBSERVED: "are worse", BETTER: "are better", NOT_OBSERVED: "are not worse"}
"""What an interval says of the error of deeper networks."""
NAMED = 4
"""Runs named one by one before the rest is only counted."""


def digits(*values: float) -> int:
    """Decimals that show how small the smallest of some numbers of points is."""
    return 1 if min(map(abs, values)) >= 1 else 2


def points(contrast: Contrast) -> str:
    """A difference in points with its sign: "+12.3"."""
    value = 100 * contrast.difference
    return f"{value:+.{digits(value)}f}"


def interval_text(interval: Interval | None) -> str:
    """An interval of fractions in points: "3.9 to 4.7"; nothing where there is none."""
    if interval is None:
        return ""
    low, high = (100 * end for end in interval)
    places = digits(low, high)
    return f"{low:.{places}f} to {high:.{places}f}"


def sentence(group: Group, verdict: Verdict) -> str:
    """What a group's verdict says, which of its networks did not train, and which runs are missing."""
    pairs = [(verdict.plain, *PLAIN_PAIR), (verdict.residual, *RESIDUAL_PAIR)]
    present = [pair for pair in pairs if pair[0].compared]
    if present:
        alone = all(contrast.interval is None for contrast, _, _ in present)
        mixed = len({len(contrast.seeds) for contrast in verdict.contrasts if contrast.compared}) > 1
        clauses = [
            _difference(*pair, measure="" if index else " in running training error")
            + ("" if alone else _certainty(pair[0], mixed))
            for index, pair in enumerate(present)
        ]
        closing = "; no interval can be given" if alone else _interaction(verdict.interaction, mixed)
        said = f"{_opening(group, [contrast for contrast, _, _ in present])}{', '.join(clauses)}{closing}."
        parts = [said[0].upper() + said[1:]]
    else:
        parts = ["No verdict: no network was finished at both depths with the same seed."]
    return " ".join(parts + _not_trained(group) + _still_learning(group, verdict) + _absent(group))


def bottom_line(verdict: Verdict) -> str:
    """The answer in plain words: On their own training set deeper plain networks are worse and ... are not worse.

    A second sentence where that is left open and test images decide. Empty where nothing can be compared.
    """
    on_training: list[str] = []
    on_test: list[str] = []
    for kind, contrast in (("plain", verdict.plain), ("residual", verdict.residual)):
        if not (contrast.compared and contrast.trained):
            continue
        on_training.append(f"deeper {kind} networks {_in_plain_words(contrast)}")
        tested = verdict.on_test_images(contrast)
        if contrast.word == UNDECIDED and tested and tested.word in DECIDED:
            on_test.append(f"deeper {kind} networks {DECIDED[tested.word]}")
    lists = {"On their own training set": on_training, "On test images": on_test}
    return " ".join(f"{where} {' and '.join(said)}." for where, said in lists.items() if said)


def _in_plain_words(contrast: Contrast) -> str:
    """What became of the error of a kind of networks when they got deeper."""
    side = "worse" if contrast.difference > 0 else "better" if contrast.difference < 0 else "level"
    if contrast.interval is None:
        return f"ended {side} (one seed)"
    if contrast.word in DECIDED:
        return DECIDED[contrast.word]
    if contrast.one_sided:
        return f"ended {side} in each of {len(contrast.seeds)} seeds (too few to be sure)"
    return "may be worse or not (too few seeds to tell)"


def _opening(group: Group, contrasts: list[Contrast]) -> str:
    """How a sentence begins: on how many seeds it rests, "2 shared seeds: " where some network has others, too.

    Empty where contrasts differ in their number, which each then names.
    """
    seeds = {len(contrast.seeds) for contrast in contrasts}
    if any(contrast.method == WELCH for contrast in contrasts):
        return "Seeds that do not match: "
    if len(seeds) > 1:
        return ""
    n = seeds.pop()
    counts = {len(network.finished) for network in map(group.network, NAMES) if network}
    shared = "" if counts <= {0, n} else "shared "
    return f"One {shared}seed: " if n == 1 else f"{n} {shared}seeds: "


def _difference(contrast: Contrast, shallow: str, deep: str, measure: str) -> str:
    """plain-56 ends 12.3 points above plain-20 in running training error; "ends" where the measure is named."""
    size = points(contrast)[1:]
    side = "above" if contrast.difference > 0 else "below"
    where = f"{size} points {side}" if float(size) else "level with"
    return f"{title(deep)} {'ends ' if measure else ''}{where} {title(shallow)}{measure}"


def brief(group: Group, verdict: Verdict) -> str:
    """A line for each contrast of the verdict, for a terminal; its sentence where none can be compared."""
    names = [verdict.plain.name, verdict.residual.name, "the first minus the second"]
    lines = [
        f"{name}: {points(one)}{_within(one)}"
        for name, one in zip(names, verdict.contrasts, strict=True)
        if one.compared
    ]
    if not lines:
        return sentence(group, verdict)
    return "\n".join(["Running training error at the end, points with 95% intervals:", *lines])


def _within(contrast: Contrast) -> str:
    """The interval, its seeds and what that says: (3.9 to 4.7), 5 seeds: degradation observed."""
    if contrast.interval is None:
        return ", one seed, no interval"
    seeds = plural(len(contrast.seeds), "seed") if contrast.method == PAIRED else "Welch"
    return f" ({interval_text(contrast.interval)}), {seeds}: {_judged(contrast) or contrast.word}"


def _judged(contrast: Contrast) -> str:
    """What its interval says."""
    return {
        OBSERVED: f"{contrast.effects[OBSERVED]} observed",
        NOT_OBSERVED: f"{contrast.effects[OBSERVED]} not observed",
        BETTER: f"{contrast.effects[BETTER]} observed",
        UNDECIDED: "undecided",
    }.get(contrast.word, "")


def _certainty(contrast: Contrast, mixed: bool) -> str:
    """(95% interval 3.9 to 4.7: degradation observed), or (seed 0 alone, no interval).

    With the number of seeds where contrasts differ in it, or where all say what the interval leaves undecided.
    """
    if contrast.interval is None:
        return f" (seed {contrast.seeds[0]} alone, no interval)"
    judged = "; ".join(filter(None, [_judged(contrast), contrast.more]))
    kind = "Welch interval" if contrast.method == WELCH else "interval"
    alike = contrast.word == UNDECIDED and contrast.one_sided
    seeds = f" over {plural(len(contrast.seeds), 'seed')}" if contrast.method == PAIRED and (mixed or alike) else ""
    each = f", each {'above' if contrast.difference > 0 else 'below'} 0" if alike else ""
    return f" (95% {kind} {interval_text(contrast.interval)}{seeds}{each}{judged and f': {judged}'})"


def _interaction(contrast: Contrast, mixed: bool) -> str:
    """; the added depth costs the plain network 4.8 points more than the residual one (95% interval ...)."""
    if not contrast.compared:
        return ""
    than = f"{points(contrast)[1:]} points {'more' if contrast.difference >= 0 else 'less'}"
    return f"; the added depth costs the plain network {than} than the residual one{_certainty(contrast, mixed)}"


def _not_trained(group: Group) -> list[str]:
    """A sentence for each network that stayed near chance."""
    sentences: list[str] = []
    for network in filter(None, map(group.network, NAMES)):
        stuck = [run for run in network.finished if not run.trained]
        if not stuck:
            continue
        some = f" in {len(stuck)} of {plural(len(network.finished), 'seed')}" if len(network.finished) > 1 else ""
        error = 100 * statistics.fmean(run.final.running_error for run in stuck)
        sentences.append(
            f"{network.title} did not train within {group.iterations:,} iterations{some} "
            f"(running training error {error:.1f}%)."
        )
        if network.name in (PLAIN_PAIR[0], RESIDUAL_PAIR[0]):
            sentences.append(f"A comparison with {network.title} therefore says nothing about depth.")
    return sentences


def _still_learning(group: Group, verdict: Verdict) -> list[str]:
    """A sentence where plain networks degrade that were still learning fast when the rate first dropped."""
    first = min(group.recipe_settings["drops"], default=0)
    falls = [_fall(group, name, first) for name in PLAIN_PAIR]
    if not (verdict.plain.compared and verdict.plain.difference > 0 and statistics.fmean(falls) > LEARNING):
        return []
    names, by = listed([title(name) for name in PLAIN_PAIR]), listed([f"{100 * fall:.1f}" for fall in falls])
    return [
        f"{names} were still learning when the rate first dropped (their running training errors fell by {by} points "
        f"in the {first // 8:,} iterations before), so on this schedule some of the difference may be slower learning."
    ]


def _fall(group: Group, name: str, at: int) -> float:
    """By how much a network's running error fell, from one eighth of the iterations until `at` to the next, the last.

    The mean over seeds; nan where it was not recorded.
    """
    falls: list[float] = []
    network = group.network(name)
    for run in network.finished if network else ():
        eighths = [
            [row.train_error for row in run.rows if end - at // 8 < row.iteration <= end] for end in (at - at // 8, at)
        ]
        falls.append(statistics.fmean(eighths[0]) - statistics.fmean(eighths[1]) if all(eighths) else math.nan)
    return statistics.fmean(falls) if falls else math.nan


def _absent(group: Group) -> list[str]:
    """Networks without any run, seeds that only other networks have, and runs that are not finished."""
    seeds = {name: {run.seed for run in network.runs} for name in NAMES if (network := group.network(name))}
    every = set[int]().union(*seeds.values())
    lists = {
        "Not run": [title(name) for name in NAMES if name not in seeds],
        "Missing": [
            f"{title(name)} seed{'s' * (len(missing) > 1)} {', '.join(spans(missing))}"
            for name, own in seeds.items()
            if (missing := sorted(every - own))
        ],
        "Not counted, because not finished": [
            f"{network.title} seed {run.seed} ({run.progress})" for network, run in group.not_counted
        ],
    }
    return [f"{what}: {listed(few(names, NAMED))}." for what, names in lists.items() if names]


def mean_and_spread(network: NetworkRuns, metric: str) -> str:
    """Mean ± sample standard deviation in percent: "5.63 ± 0.22"; a hyphen where nothing was measured."""
    mean, spread = network.mean(metric), network.spread(metric)
    if mean is None:
        return ABSENT
    return f"{100 * mean:.2f}" + (f" ± {100 * spread:.2f}" if spread is not None else "")

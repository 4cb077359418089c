"""Is a deeper network built from a trained one as good, and does SGD find one that is? The paper's argument."""

from resexp.analysis.claims import (
    EXACT,
    IDENTITY,
    LEAST_SEEDS,
    MISSED,
    NO_WORSE,
    NOT_REPRODUCED,
    NOT_TESTED,
    UNDECIDED,
    Claim,
    diagnosed,
    outcome_of,
)
from resexp.analysis.study import Group, title
from resexp.analysis.verdict import BETTER, OBSERVED, Contrast
from resexp.analysis.wording import interval_text, points
from resexp.diagnose.table import CHECKPOINT, Measured, Subject
from resexp.formatting import ABSENT, plural
from resexp.report.spec import Table
from resexp.report.why.profiles import Finding, profile

HEADING = [
    *("network", "built from", "seed", "training error, %: of that one", "built", "found by SGD"),
    *("test error, %: of that one", "built", "found by SGD"),
]
SPLITS = ("train_error", "test_error")
TRAINING = "clean_train_error"

Errors = tuple[float, float, float | None]
"""Of the shallower network, the deeper one built from it, and the deeper one that was trained, if there is one."""


def find(group: Group, measured: Measured) -> Finding | None:
    """Sentence and numbers; None where nothing was built."""
    trained = {(subject.network, subject.seed): subject for subject in measured if subject.source == CHECKPOINT}
    built = {one: trained[key] for one in measured if one.built and (key := (one.trained_as, one.seed)) in trained}
    cases = {
        one: [_errors(measured, shallower, one, trained.get((one.network, one.seed)), split) for split in SPLITS]
        for one, shallower in sorted(
            built.items(),
            key=lambda pair: (pair[0].family, pair[0].depth, pair[0].network, pair[1].depth, pair[0].seed),
        )
    }
    if not cases:
        return None
    caption = "Deeper networks built from trained ones, nothing trained again; all measured in fp32, on all images"
    rows = [
        [title(one.network), title(one.trained_as), str(one.seed), *map(_percent, errors[0] + errors[1])]
        for one, errors in cases.items()
    ]
    table = Table(caption, HEADING, rows, {0, 1})
    return Finding(None, sentence(cases), table, claimed(group, cases))


def _errors(measured: Measured, shallower: Subject, built: Subject, found: Subject | None, quantity: str) -> Errors:
    """One error of the three networks."""
    (own,), (same,) = profile(measured, shallower, quantity), profile(measured, built, quantity)
    return own, same, profile(measured, found, quantity)[0] if found else None


def _percent(error: float | None) -> str:
    return ABSENT if error is None else f"{100 * error:.2f}"


def claimed(group: Group, cases: dict[Subject, list[Errors]]) -> list[Claim]:
    """What becomes of the claims on what can be built, and on whether SGD finds as good a plain network."""
    claims: list[Claim] = []
    for family, text in (("residual", IDENTITY), ("plain", NO_WORSE)):
        equal = [all(built == own for own, built, _ in errors) for one, errors in cases.items() if one.family == family]
        outcome = (EXACT if all(equal) else NOT_REPRODUCED) if equal else NOT_TESTED
        claims.append(diagnosed(group, text, outcome, f"errors equal in {sum(equal)} of {len(equal)}" if equal else ""))
    return [*claims, _missed(group, cases)]


def _missed(group: Group, cases: dict[Subject, list[Errors]]) -> Claim:
    """The claim that SGD finds no plain network as good, decided by intervals of found minus built over seeds."""
    pairs: dict[tuple[str, str], tuple[dict[int, float], dict[int, float]]] = {}
    for one, ((_, built, sgd), _) in cases.items():
        if one.family == "plain" and sgd is not None:
            found, same = pairs.setdefault((one.network, one.trained_as), ({}, {}))
            found[one.seed], same[one.seed] = sgd, built
    held: list[bool] = []
    more: list[str] = []
    for (network, base), (found, same) in pairs.items():
        name = f"{title(network)} found minus built from {title(base)}"
        contrast = Contrast(name, TRAINING, [(1, found), (-1, same)], margin=0.0)
        if contrast.interval is None:
            ((seed, sgd),) = found.items()
            more.append(f"{title(network)} seed {seed}: {_percent(same[seed])}% built, {_percent(sgd)}% found")
        else:
            interval = f"95% interval {interval_text(contrast.interval)} over {plural(len(found), 'seed')}"
            more.append(f"{name} {points(contrast)} points ({interval})")
        held += [sign for sign, word in ((True, OBSERVED), (False, BETTER)) if contrast.word == word]
    outcome = outcome_of(held, LEAST_SEEDS) if len(held) == len(pairs) else UNDECIDED
    return diagnosed(group, MISSED, outcome, f"training error: {'; '.join(more)}" if more else "")


def sentence(cases: dict[Subject, list[Errors]]) -> str:
    """In how many cases the built network errs exactly as the shallower one, and SGD found one that errs more."""
    equal = sum(all(built == shallower for shallower, built, _ in errors) for errors in cases.values())
    found = [sgd > built for (_, built, sgd), _ in cases.values() if sgd is not None]
    worse = f"; SGD found one with a higher training error in {sum(found)} of {len(found)}" if found else ""
    return f"In {equal} of {len(cases)} cases the built network has exactly the shallower one's errors{worse}."

"""Is a deeper network built from a trained one as good, and does SGD find one that is? The paper's argument."""

from resexp.analysis.claims import (
    EXACT,
    IDENTITY,
    MISSED,
    NO_WORSE,
    NOT_REPRODUCED,
    NOT_TESTED,
    Claim,
    diagnosed,
    outcome_of,
)
from resexp.analysis.study import Group, title
from resexp.diagnose.table import CHECKPOINT, Measured, Subject
from resexp.formatting import ABSENT
from resexp.report.spec import Table
from resexp.report.why.profiles import Finding, profile

HEADING = [
    *("network", "built from", "seed", "training error, %: of that one", "built", "found by SGD"),
    *("test error, %: of that one", "built", "found by SGD"),
]
SPLITS = ("train_error", "test_error")

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
    rows = [
        [
            title(one.network),
            title(one.trained_as),
            str(one.seed),
            *(_percent(value) for split in errors for value in split),
        ]
        for one, errors in cases.items()
    ]
    table = Table(
        "Deeper networks built from trained ones, nothing trained again; all measured in fp32, on all images",
        HEADING,
        rows,
        {0, 1},
    )
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
    found = {one: errors[0] for one, errors in cases.items() if one.family == "plain" and errors[0][2] is not None}
    held = [sgd > built for _, built, sgd in found.values() if sgd is not None]
    more = [
        f"{title(one.network)} seed {one.seed}: {_percent(built)}% built, {_percent(sgd)}% found"
        for one, (_, built, sgd) in found.items()
    ]
    seeds = len({one.seed for one in found})
    ours = f"training error: {'; '.join(more)}" if more else ""
    return [*claims, diagnosed(group, MISSED, outcome_of(held, seeds), ours)]


def sentence(cases: dict[Subject, list[Errors]]) -> str:
    """In how many cases the built network errs exactly as the shallower one, and SGD found one that errs more."""
    equal = sum(all(built == shallower for shallower, built, _ in errors) for errors in cases.values())
    found = [sgd > built for (_, built, sgd), _ in cases.values() if sgd is not None]
    worse = f"; SGD found one with a higher training error in {sum(found)} of {len(found)}" if found else ""
    return f"In {equal} of {len(cases)} cases the built network has exactly the shallower one's errors{worse}."

"""What the paper and its retellings claim, and what became of each claim in one group of runs."""

from collections.abc import Callable
from dataclasses import dataclass

from resexp.analysis import paper
from resexp.analysis.study import Group, StudyRun
from resexp.analysis.verdict import (
    NOT_OBSERVED,
    OBSERVED,
    ONE_SEED,
    PLAIN_PAIR,
    RESIDUAL_PAIR,
    UNDECIDED,
    Contrast,
    Verdict,
)
from resexp.analysis.wording import interval_text, points
from resexp.formatting import ABSENT, plural

REPRODUCED, NOT_REPRODUCED, NOT_TESTED = "reproduced", "not reproduced", "not tested"

UNTRAINED_ERROR = 0.6
"""plain-110's training error lies above this in the paper (caption of figure 6)."""

LEAST_SEEDS = 2
"""With fewer, a claim stays undecided: another seed might say the opposite."""


@dataclass(frozen=True)
class Claim:
    """One claim. `outcome`: reproduced, not reproduced, undecided or not tested; numbers are text for a person."""

    text: str
    outcome: str
    ours: str
    published: str
    evidence: str
    """File of the report that shows it."""
    command: str


VANISH = "Gradients of plain networks with batch norm vanish (retellings)"
HEALTHY = "Gradients of plain networks with batch norm have healthy norms (section 4.1)"
SMALLER = "Residual responses are smaller than plain ones (figure 7)"
SMALLER_STILL = "Responses of deeper residual networks are smaller still (figure 7)"
FALL_BACK = "A block of a residual network can fall back to the identity"
LOOKED_INTO = {
    VANISH: "gradients",
    HEALTHY: "gradients",
    SMALLER: "responses",
    SMALLER_STILL: "responses",
    FALL_BACK: "lesions",
}
"""Claims that a diagnosis tests, and which."""


@dataclass(frozen=True)
class Look:
    """Whether a claim holds in one place, a network or a pair of them, and over how many seeds."""

    held: bool
    seeds: int


def outcome_of(looks: list[Look]) -> str:
    """What follows from looks that must all hold."""
    if not looks:
        return NOT_TESTED
    held = {look.held for look in looks}
    if len(held) > 1 or any(look.seeds < LEAST_SEEDS for look in looks):
        return UNDECIDED
    return REPRODUCED if held == {True} else NOT_REPRODUCED


def looked_into(group: Group, text: str, outcome: str, ours: str) -> Claim:
    """A claim of `LOOKED_INTO`."""
    diagnosis = LOOKED_INTO[text]
    evidence = ABSENT if outcome == NOT_TESTED else f"{diagnosis}.csv"
    command = f"resexp diagnose {diagnosis} group={group.data}/{group.recipe}"
    return Claim(text, outcome, ours or ABSENT, ABSENT, evidence, command)


def claims(group: Group, verdict: Verdict, of_diagnoses: list[Claim]) -> list[Claim]:
    """Every claim, those that were not tested included; those that diagnoses tested are given."""
    tested = {claim.text: claim for claim in of_diagnoses}
    warm_up = group.recipe_settings.get("warmup") != "never"
    residual = verdict.residual
    in_test_error = [one for one in verdict.secondary if (one.name, one.metric) == (residual.name, "test_error")]
    contrasts = [
        ("Plain networks degrade with depth (training error)", verdict.plain, PLAIN_PAIR, OBSERVED),
        ("Residual networks do not degrade with depth (training error)", residual, RESIDUAL_PAIR, NOT_OBSERVED),
        (
            "Added residual layers do not hurt (test error)",
            next(iter(in_test_error), None),
            RESIDUAL_PAIR,
            NOT_OBSERVED,
        ),
    ]
    return [
        *(_of_contrast(group, *contrast) for contrast in contrasts),
        _of_network(group, "plain110", "Plain-110 does not train (training error above 60%)", _stays_high),
        _of_network(group, "resnet110", "ResNet-110 trains, with its warm-up", _trains, warm_up),
        *(tested.get(text, looked_into(group, text, NOT_TESTED, "")) for text in LOOKED_INTO),
    ]


def _command(group: Group, models: tuple[str, ...]) -> str:
    """What trains the networks of a claim."""
    data, recipe = group.data_settings["name"], group.recipe_settings["name"]
    same = (data, recipe) == (group.data, group.recipe)
    where = f"data={data} recipe={recipe}"
    changed = "" if same else f" # and the other settings of {group.data}/{group.recipe}"
    return f"resexp train -m model={','.join(models)} {where} seed=0,1,2{changed}"


def _of_contrast(group: Group, text: str, contrast: Contrast | None, pair: tuple[str, str], wanted: str) -> Claim:
    published = paper.TRAIN_ERROR if contrast is None or contrast.metric == "running_error" else paper.TEST_ERROR
    shallow, deep = (published[name] for name in pair)
    digitised = ", digitised" if shallow.digitised or deep.digitised else ""
    theirs = f"{deep.percent - shallow.percent:+.2f} points{digitised}" if group.is_papers else ABSENT
    if contrast is None or not contrast.compared or not contrast.trained:
        return Claim(text, NOT_TESTED, ABSENT, theirs, ABSENT, _command(group, pair))
    opposite = {OBSERVED: NOT_OBSERVED, NOT_OBSERVED: OBSERVED}[wanted]
    outcome = {wanted: REPRODUCED, opposite: NOT_REPRODUCED, UNDECIDED: UNDECIDED, ONE_SEED: UNDECIDED}[contrast.word]
    sure = f"95% interval {interval_text(contrast)}" if contrast.interval else "one seed, no interval"
    ours = f"{points(contrast)} points ({sure})"
    return Claim(text, outcome, ours, theirs, "contrasts.csv", _command(group, pair))


def _of_network(group: Group, name: str, text: str, test: Callable[[StudyRun], bool], applies: bool = True) -> Claim:
    """A claim on each finished run of one network, where the recipe is one that it `applies` to."""
    network = group.network(name)
    published = paper.TRAIN_ERROR[name]
    theirs = f"training error, %: {published}" if group.is_papers else ABSENT
    mean = network.mean("running_error") if network else None
    if network is None or mean is None or not applies:
        return Claim(text, NOT_TESTED, ABSENT, theirs, ABSENT, _command(group, (name,)))
    seeds = len(network.finished)
    ours = f"training error {100 * mean:.1f}% ({plural(seeds, 'seed')})"
    outcome = outcome_of([Look(test(run), seeds) for run in network.finished])
    return Claim(text, outcome, ours, theirs, "final.csv", _command(group, (name,)))


def _stays_high(run: StudyRun) -> bool:
    return run.final.running_error > UNTRAINED_ERROR


def _trains(run: StudyRun) -> bool:
    return not _stays_high(run)

"""What the paper and its retellings claim, and what became of each claim in one group of runs."""

import statistics
from dataclasses import dataclass

from resexp.analysis import paper
from resexp.analysis.study import Group
from resexp.analysis.verdict import (
    BETTER,
    NOT_OBSERVED,
    OBSERVED,
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
HEALTHY_INITIAL = "Gradients of plain networks with batch norm have healthy norms at initialisation (section 4.1)"
HEALTHY_TRAINED = "Gradients of plain networks with batch norm have healthy norms once trained (section 4.1)"
VANISH_HE = "Gradients of plain networks without norm vanish at initialisation, with He weights (retellings)"
VANISH_SMALL = "Gradients of plain networks without norm vanish at initialisation, with smaller weights (retellings)"
SHORTCUTS_HELP = "Where those gradients vanish, those of residual networks of the same depth do not (retellings)"
SMALLER = "Residual responses are smaller than plain ones (figure 7)"
SMALLER_STILL = "Responses of deeper residual networks are smaller still (figure 7)"
FALL_BACK = "A block of a residual network can fall back to the identity"
DIAGNOSED = {
    VANISH: "gradients",
    **dict.fromkeys((HEALTHY_INITIAL, HEALTHY_TRAINED, VANISH_HE, VANISH_SMALL, SHORTCUTS_HELP), "gradients"),
    SMALLER: "responses",
    SMALLER_STILL: "responses",
    FALL_BACK: "lesions",
}
"""Claims that a diagnosis tests, and which."""


def outcome_of(held: list[bool], seeds: int) -> str:
    """What follows from cases in which a claim held or not; `seeds` is the fewest that a case rests on."""
    if not held:
        return NOT_TESTED
    if len(set(held)) > 1 or seeds < LEAST_SEEDS:
        return UNDECIDED
    return REPRODUCED if held[0] else NOT_REPRODUCED


def diagnosed(group: Group, text: str, outcome: str, ours: str) -> Claim:
    """A claim of `DIAGNOSED`."""
    diagnosis = DIAGNOSED[text]
    evidence = ABSENT if outcome == NOT_TESTED else f"{diagnosis}.csv"
    command = f"resexp diagnose {diagnosis} group={group.data}/{group.recipe}"
    return Claim(text, outcome, ours or ABSENT, ABSENT, evidence, command)


def claims(group: Group, verdict: Verdict, of_diagnoses: list[Claim]) -> list[Claim]:
    """Every claim, those that were not tested included; those that diagnoses tested are given."""
    tested = {claim.text: claim for claim in of_diagnoses}
    plain, residual = verdict.plain, verdict.residual
    in_test_error = [one for one in verdict.secondary if (one.name, one.metric) == (residual.name, "test_error")]
    return [
        _of_contrast(group, "Plain networks degrade with depth (training error)", plain, PLAIN_PAIR, True),
        _of_contrast(
            group, "Residual networks do not degrade with depth (training error)", residual, RESIDUAL_PAIR, False
        ),
        _of_contrast(
            group, "Added residual layers do not hurt (test error)", (*in_test_error, None)[0], RESIDUAL_PAIR, False
        ),
        _of_network(group, "plain110", "Plain-110 does not train (training error above 60%)", False),
        _of_network(group, "resnet110", "ResNet-110 trains, with its warm-up", True),
        *(tested.get(text, diagnosed(group, text, NOT_TESTED, "")) for text in DIAGNOSED),
    ]


def _command(group: Group, *models: str) -> str:
    """What trains the networks of a claim."""
    data, recipe = group.data_settings["name"], group.recipe_settings["name"]
    same = (data, recipe) == (group.data, group.recipe)
    changed = "" if same else f" # and the other settings of {group.data}/{group.recipe}"
    return f"resexp train -m model={','.join(models)} data={data} recipe={recipe} seed=0,1,2{changed}"


def _of_contrast(group: Group, text: str, contrast: Contrast | None, pair: tuple[str, str], degrades: bool) -> Claim:
    """A claim that the deep network of a pair `degrades`, or that it does not."""
    published = paper.TRAIN_ERROR if contrast is None or contrast.metric == "running_error" else paper.TEST_ERROR
    shallow, deep = (published[name] for name in pair)
    digitised = ", digitised" if shallow.digitised or deep.digitised else ""
    theirs = f"{deep.percent - shallow.percent:+.2f} points{digitised}" if group.is_papers else ABSENT
    if contrast is None or not contrast.compared or not contrast.trained:
        return Claim(text, NOT_TESTED, ABSENT, theirs, ABSENT, _command(group, *pair))
    held, opposite = (REPRODUCED, NOT_REPRODUCED) if degrades else (NOT_REPRODUCED, REPRODUCED)
    outcome = {OBSERVED: held, NOT_OBSERVED: opposite, BETTER: opposite}.get(contrast.word, UNDECIDED)
    sure = f"95% interval {interval_text(contrast.interval)}" if contrast.interval else "one seed, no interval"
    ours = f"{points(contrast)} points ({sure})"
    return Claim(text, outcome, ours, theirs, "contrasts.csv", _command(group, *pair))


def _of_network(group: Group, name: str, text: str, trains: bool) -> Claim:
    """A claim that every finished run of a network `trains` (the recipe's warm-up provided), or that none does."""
    network = group.network(name)
    theirs = f"training error, %: {paper.TRAIN_ERROR[name]}" if group.is_papers else ABSENT
    errors = network.values("running_error") if network else []
    if not errors or (trains and group.recipe_settings.get("warmup") == "never"):
        return Claim(text, NOT_TESTED, ABSENT, theirs, ABSENT, _command(group, name))
    ours = f"training error {100 * statistics.fmean(errors):.1f}% ({plural(len(errors), 'seed')})"
    outcome = outcome_of([(error <= UNTRAINED_ERROR) == trains for error in errors], len(errors))
    return Claim(text, outcome, ours, theirs, "final.csv", _command(group, name))

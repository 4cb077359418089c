"""What the paper and its retellings claim, and what became of each claim in one group of runs."""

import math
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from resexp.analysis import paper
from resexp.analysis.study import NOT_TRAINED, Group, NetworkRuns, content_key, title
from resexp.analysis.verdict import (
    BETTER,
    NOT_OBSERVED,
    OBSERVED,
    PAIRED,
    PLAIN_PAIR,
    RESIDUAL_PAIR,
    UNDECIDED,
    Contrast,
    Verdict,
    depth_contrast,
)
from resexp.analysis.wording import digits, interval_text, points
from resexp.formatting import ABSENT, MANY, few, plural

REPRODUCED, NOT_REPRODUCED, NOT_TESTED = "reproduced", "not reproduced", "not tested"
REFUTED = "refuted by an example"
"""Of a guarantee: one case is enough."""
EXACT = "exact"
"""Of what was built: equal to the last digit, which no further seed can change."""

DEGRADES = {OBSERVED: REPRODUCED, NOT_OBSERVED: NOT_REPRODUCED, BETTER: NOT_REPRODUCED}
DOES_NOT = {OBSERVED: NOT_REPRODUCED, NOT_OBSERVED: REPRODUCED, BETTER: REPRODUCED}
"""What becomes of a claim that there is a difference, or that there is none, for each word of a contrast."""

LEARNED_ERROR = 0.5
"""A running training error below this counts as having begun to learn."""

UNTRAINED_ERROR = 0.6
"""plain-110's training error lies above this in the paper (caption of figure 6)."""

TEN_CLASSES = 0.9
"""The error of guessing among as many."""

LEAST_SEEDS = 2
"""With fewer, a claim stays undecided: another seed might say the opposite."""


@dataclass(frozen=True)
class Claim:
    """One claim. `outcome`: reproduced, not reproduced, exact, refuted by an example, undecided or not tested.

    `kind`: contrast (of networks), rate (how much or how fast), existence (it can happen) or guarantee (it always
    does). Numbers are text for a person.
    """

    text: str
    kind: str
    outcome: str = NOT_TESTED
    ours: str = ABSENT
    published: str = ABSENT
    evidence: str = ABSENT
    """File of the report that shows it."""
    command: str = ABSENT


VANISH = "Gradients of plain networks with batch norm vanish (retellings)"
HEALTHY_INITIAL = "Gradients of plain networks with batch norm have healthy norms at initialisation (section 4.1)"
HEALTHY_TRAINED = "Gradients of plain networks with batch norm have healthy norms once trained (section 4.1)"
VANISH_HE = "Gradients of plain networks without norm vanish at initialisation, with He weights (retellings)"
VANISH_SMALL = "Gradients of plain networks without norm vanish at initialisation, with smaller weights (retellings)"
SHORTCUTS_HELP = "Where those gradients vanish, those of residual networks of the same depth do not (retellings)"
PRODUCT = "They do because each step back multiplies them by the weights: a block by their scale squared (retellings)"
EXPLODE = "Gradients explode in some networks at initialisation (retellings: in rare cases)"
CAUSE = "Plain networks degrade because their gradients vanish (retellings; unlikely by section 4.1)"
SMALLER = "Residual responses are smaller than plain ones (figure 7)"
SMALLER_STILL = "Responses of deeper residual networks are smaller still (figure 7)"
FALL_BACK = "Trained residual blocks fall back to the identity (branch below 0.1 of the shortcut)"
SKIPS = "Weight decay makes a residual network skip layers that it does not need (retellings)"
IDENTITY = "A residual block can be the identity: with a zero branch it passes on what it receives (construction)"
NO_WORSE = "A deeper plain network need not be worse: one as good as a shallower one exists (construction)"
MISSED = "And SGD does not find a plain network as good as the one that can be built"
DIAGNOSED = {
    VANISH: ("gradients", "rate"),
    HEALTHY_INITIAL: ("gradients", "rate"),
    HEALTHY_TRAINED: ("gradients", "rate"),
    EXPLODE: ("gradients", "existence"),
    CAUSE: ("gradients", "contrast"),
    VANISH_HE: ("gradients", "rate"),
    VANISH_SMALL: ("gradients", "rate"),
    PRODUCT: ("gradients", "rate"),
    SHORTCUTS_HELP: ("gradients", "rate"),
    SMALLER: ("responses", "contrast"),
    SMALLER_STILL: ("responses", "contrast"),
    FALL_BACK: ("lesions", "existence"),
    SKIPS: ("lesions", "rate"),
    IDENTITY: ("construction", "existence"),
    NO_WORSE: ("construction", "existence"),
    MISSED: ("construction", "contrast"),
}
"""Claims that a diagnosis tests: which one does, and the kind of claim."""


def outcome_of(held: list[bool], seeds: int) -> str:
    """What follows from cases in which a claim held or not; `seeds` is the fewest that a case rests on."""
    if not held:
        return NOT_TESTED
    if len(set(held)) > 1 or seeds < LEAST_SEEDS:
        return UNDECIDED
    return REPRODUCED if held[0] else NOT_REPRODUCED


def diagnosed(group: Group, text: str, outcome: str, ours: str) -> Claim:
    """A claim of `DIAGNOSED`."""
    diagnosis, kind = DIAGNOSED[text]
    evidence = ABSENT if outcome == NOT_TESTED else f"{diagnosis}.csv"
    command = f"resexp diagnose {diagnosis} group={group.data}/{group.recipe}"
    if text == SKIPS:
        command = "resexp train experiment=regularisation, then resexp diagnose lesions"
    return Claim(text, kind, outcome, ours or ABSENT, ABSENT, evidence, command)


def claims(group: Group, verdict: Verdict, of_diagnoses: list[Claim]) -> list[Claim]:
    """Every claim, those that were not tested included; those that diagnoses tested are given."""
    tested = {claim.text: claim for claim in of_diagnoses}
    tested[CAUSE] = _cause(group, verdict.plain, tested.get(VANISH))
    plain_test, residual_test = map(verdict.on_test_images, (verdict.plain, verdict.residual))
    improves = {OBSERVED: NOT_REPRODUCED, BETTER: REPRODUCED}
    plain, residual = partial(_of_contrast, group, PLAIN_PAIR), partial(_of_contrast, group, RESIDUAL_PAIR)
    return [
        plain("Plain networks degrade with depth (training error)", verdict.plain, DEGRADES),
        plain("And thus their test error is higher, too", plain_test, DEGRADES),
        _turning(group, verdict),
        _slow(group),
        residual("Residual networks do not degrade with depth (training error)", verdict.residual, DOES_NOT),
        residual("Added residual layers do not hurt (test error)", residual_test, DOES_NOT),
        residual("Residual networks gain accuracy from depth (test error)", residual_test, improves),
        _guarantee(group, verdict.residual),
        _of_network(group, "plain110", "Plain-110 does not train (training error above 60%)", False),
        _of_network(group, "resnet110", "ResNet-110 trains, with its warm-up", True),
        *_projections(group, verdict.residual.margin),
        *_skips(group, verdict.plain.margin),
        *(tested.get(text, diagnosed(group, text, NOT_TESTED, "")) for text in DIAGNOSED),
        _kept(group, verdict.plain.margin),
    ]


def _command(group: Group, *models: str, more: str = "") -> str:
    """What trains the networks of a claim."""
    data, recipe = group.data_settings["name"], group.recipe_settings["name"]
    same = (data, recipe) == (group.data, group.recipe)
    changed = "" if same else f" # and the other settings of {group.data}/{group.recipe}"
    return f"resexp train -m model={','.join(models)} data={data} recipe={recipe} seed=0,1,2{more}{changed}"


def _of_contrast(
    group: Group, pair: tuple[str, str], text: str, contrast: Contrast | None, outcomes: dict[str, str]
) -> Claim:
    """A claim about the deep network of a pair against the shallow one: its outcome for each word of a contrast."""
    published = paper.TRAIN_ERROR if contrast is None or contrast.metric == "running_error" else paper.TEST_ERROR
    shallow, deep = (published[name] for name in pair)
    digitised = ", digitised" if shallow.digitised or deep.digitised else ""
    after = f" after {paper.RECIPE['iterations']:,} iterations{digitised}"
    theirs = f"{deep.percent - shallow.percent:+.2f} points{after}" if group.is_papers else ABSENT
    if contrast is None or not contrast.compared or not contrast.trained:
        return Claim(text, "contrast", published=theirs, command=_command(group, *pair))
    outcome = outcomes.get(contrast.word, UNDECIDED)
    return Claim(text, "contrast", outcome, _found(contrast), theirs, "contrasts.csv", _command(group, *pair))


def _projections(group: Group, margin: float) -> list[Claim]:
    """That blocks with projections train, and that networks with them are no better than with identity shortcuts."""
    command = _command(group, *RESIDUAL_PAIR, more=" model.shortcut=A,B,C")
    pairs = _pairs(group, lambda model: model["shortcut"] != "A" and "skip" not in model, shortcut="A")
    return [
        _trains("Blocks with projections as shortcuts train, too (options B and C)", pairs, command),
        _no_better(
            "Projections are not essential: networks with them are not better (section 4.1)", pairs, margin, command
        ),
    ]


def _skips(group: Group, margin: float) -> list[Claim]:
    """That networks train whose shortcuts skip one layer or several; those over one layer are no better than plain."""
    command = _command(group, *RESIDUAL_PAIR, more=" model.skip=1,2,3")
    others = _pairs(group, lambda model: "skip" in model)
    single = _pairs(group, lambda model: model.get("skip") == 1, residual=False)
    command_single = f"{_command(group, 'plain56')}; {_command(group, 'resnet56', more=' model.skip=1')}"
    return [
        _trains("A shortcut may skip one layer or several (retellings)", others, command),
        _no_better(
            "A shortcut over a single layer has no advantage over a plain network (section 3.2)",
            single,
            margin,
            command_single,
        ),
    ]


Pair = tuple[NetworkRuns, NetworkRuns]


def _pairs(group: Group, wanted: Callable[[dict[str, Any]], bool], **usual: Any) -> list[Pair]:
    """Residual networks of a kind, each beside the one like it with skips of two layers and what is `usual`."""
    networks = {content_key(network.model | {"name": ""}): network for network in group.networks if network.finished}
    pairs: list[Pair] = []
    for network in networks.values():
        like = {key: value for key, value in network.model.items() if key != "skip"} | {"name": ""} | usual
        if network.model["residual"] and wanted(network.model) and (other := networks.get(content_key(like))):
            pairs.append((network, other))
    return pairs


def _trains(text: str, pairs: list[Pair], command: str) -> Claim:
    """That the first of each pair trains."""
    if not pairs:
        return Claim(text, "existence", command=command)
    trained = [run.trained for network, _ in pairs for run in network.finished]
    outcome = outcome_of(trained, min(len(network.finished) for network, _ in pairs))
    errors = [f"{network.title} {100 * (network.mean('running_error') or 0):.1f}%" for network, _ in pairs]
    shown = f"running training error: {', '.join(errors)}"
    return Claim(text, "existence", outcome, shown, ABSENT, "final.csv", command)


def _no_better(text: str, pairs: list[Pair], margin: float, command: str) -> Claim:
    """That the first of a pair is not better than the second, judged on the deepest that there are."""
    deepest = max((network.model["depth"] for network, _ in pairs), default=0)
    contrasts = [
        contrast
        for network, other in pairs
        if network.model["depth"] == deepest and (contrast := _difference(network, other, margin)).compared
    ]
    if not contrasts:
        return Claim(text, "contrast", command=command)
    words = {contrast.word for contrast in contrasts}
    judged = NOT_REPRODUCED if BETTER in words else REPRODUCED if words <= {OBSERVED, NOT_OBSERVED} else UNDECIDED
    differences = "; ".join(f"{one.name}: {_found(one)}" for one in contrasts)
    return Claim(text, "contrast", judged, differences, ABSENT, "final.csv", command)


def _difference(network: NetworkRuns, other: NetworkRuns, margin: float) -> Contrast:
    """One network minus another in running training error."""
    terms = [(1, network.by_seed("running_error")), (-1, other.by_seed("running_error"))]
    return Contrast(f"{network.title} minus {other.title}", "running_error", terms, margin)


def _cause(group: Group, contrast: Contrast, vanish: Claim | None) -> Claim:
    """That plain networks degrade because gradients vanish: not so where they degrade and gradients do not vanish."""
    if vanish is None or contrast.word != OBSERVED:
        return diagnosed(group, CAUSE, NOT_TESTED, "")
    outcome = NOT_REPRODUCED if vanish.outcome == NOT_REPRODUCED else UNDECIDED
    return diagnosed(group, CAUSE, outcome, f"{contrast.name}: {_found(contrast)}; {vanish.ours}")


def _kept(group: Group, margin: float) -> Claim:
    """That SGD, given a built plain network, ends no worse than the shallower one that it was built from."""
    text = "And SGD keeps such a network when it starts from one, at this recipe's rate (construction)"
    command = "resexp train experiment=construction"
    for deep in reversed(group.networks):
        built = re.fullmatch(r"from-(\d+)", deep.model.get("start") or "")
        if built and not deep.model["residual"]:
            contrast = depth_contrast(group, (f"plain{built[1]}", deep.name), "running_error", margin)
            if contrast.compared and contrast.trained:
                ours = f"{contrast.name}: {_found(contrast)}"
                outcome = DOES_NOT.get(contrast.word, UNDECIDED)
                return Claim(text, "contrast", outcome, ours, evidence="final.csv", command=command)
    return Claim(text, "contrast", command=command)


def _found(contrast: Contrast) -> str:
    """+4.6 points (95% interval 2.9 to 6.2; each seed +4.3, +4.9)."""
    if not contrast.interval:
        return f"{points(contrast)} points (one seed, no interval)"
    differences = [100 * one for one in contrast.differences.values()]
    paired = few([f"{one:+.{digits(one)}f}" for one in differences]) if contrast.method == PAIRED else []
    each = f"; each seed {', '.join(paired)}" if paired else ""
    return f"{points(contrast)} points (95% interval {interval_text(contrast.interval)}{each})"


def _turning(group: Group, verdict: Verdict) -> Claim:
    """From some depth on, every plain network is worse than the shallowest: at which depth that begins."""
    text = "From some depth on, deeper plain networks only get worse (training error)"
    command = _command(group, *(f"plain{depth}" for depth in (20, 32, 44, 56)))
    depths = {
        int(one.name.partition(" ")[0].partition("-")[2]): one
        for one in (verdict.plain, *verdict.exploratory)
        if one.name.startswith("plain-") and one.compared and one.trained
    }
    if len(depths) < 2:
        return Claim(text, "existence", command=command)
    words = [(depth, depths[depth].word) for depth in sorted(depths)]
    worse = [depth for depth, word in words if word == OBSERVED]
    turning = next((depth for depth in worse if all(word == OBSERVED for other, word in words if other >= depth)), None)
    decided = all(word in (OBSERVED, NOT_OBSERVED, BETTER) for _, word in words)
    outcome = REPRODUCED if turning else NOT_REPRODUCED if decided else UNDECIDED
    found = ", ".join(f"{depth} layers {points(depths[depth])}" for depth, _ in words)
    ours = f"points above plain-20: {found}" + (f"; worse from {turning} layers on" if turning else "")
    return Claim(text, "existence", outcome, ours, ABSENT, "contrasts.csv", command)


def _slow(group: Group) -> Claim:
    """The deep plain network takes longer than the shallow one and the deep residual one to begin to learn."""
    text = f"Deep plain networks learn slowly (iterations until training error is below {LEARNED_ERROR:.0%})"
    names = (*PLAIN_PAIR, RESIDUAL_PAIR[1])
    learned = {name: found.iterations_to(LEARNED_ERROR) if (found := group.network(name)) else {} for name in names}
    seeds = set[int].intersection(*(set(found) for found in learned.values()))
    command = _command(group, *names)
    if not seeds or _chance(group) - NOT_TRAINED < LEARNED_ERROR:
        return Claim(text, "rate", command=command)
    shallow, deep, residual = (learned[name] for name in names)
    pairs = [(deep[seed], max(shallow[seed], residual[seed])) for seed in seeds]
    held = [slow > other for slow, other in pairs if not math.isinf(min(slow, other))]  # never and never decide nothing
    outcome = outcome_of(held, len(held)) if held else UNDECIDED
    shown = (f"{title(name)} {_iterations([learned[name][seed] for seed in sorted(seeds)])}" for name in names)
    alone = f" (seed {min(seeds)} alone)" if len(seeds) == 1 < max(map(len, learned.values())) else ""
    return Claim(text, "rate", outcome, "; ".join(shown) + alone, ABSENT, "curves.csv", command)


def _iterations(seeds: list[float]) -> str:
    """40, 80, never; of many seeds 40 to never."""
    many = len(seeds) > MANY
    ends = dict.fromkeys([min(seeds), max(seeds)]) if many else seeds
    return (" to " if many else ", ").join("never" if math.isinf(at) else f"{at:,.0f}" for at in ends)


def _guarantee(group: Group, contrast: Contrast) -> Claim:
    """That depth never hurts a residual network: one seed in which it does, by more than the margin, refutes it."""
    text = "Added residual layers are guaranteed not to hurt (training error)"
    if not contrast.seeds or not contrast.trained:
        return Claim(text, "guarantee", command=_command(group, *RESIDUAL_PAIR))
    worse = {seed: more for seed, more in contrast.differences.items() if more > contrast.margin}
    found = (
        f"worse by more than {100 * contrast.margin:g} points in {len(worse)} of {plural(len(contrast.seeds), 'seed')}"
    )
    examples = ", ".join(few([f"seed {seed}: {100 * more:+.1f} points" for seed, more in worse.items()]))
    ours = f"{found} ({examples})" if worse else found
    outcome = REFUTED if worse else UNDECIDED
    return Claim(text, "guarantee", outcome, ours, ABSENT, "final.csv", _command(group, *RESIDUAL_PAIR))


def _chance(group: Group) -> float:
    """The error of guessing."""
    known = (run.chance for network in group.networks for run in network.finished)
    return next((chance for chance in known if chance is not None), TEN_CLASSES)


def _of_network(group: Group, name: str, text: str, trains: bool) -> Claim:
    """A claim that every finished run of a network `trains` (the recipe's warm-up provided), or that none does.

    Its threshold is for ten classes.
    """
    network = group.network(name)
    theirs = f"training error, %: {paper.TRAIN_ERROR[name]}" if group.is_papers else ABSENT
    errors = network.values("running_error") if network else []
    other = not math.isclose(_chance(group), TEN_CLASSES) or (trains and group.recipe_settings.get("warmup") == "never")
    if not errors or other:
        return Claim(text, "existence", published=theirs, command=_command(group, name))
    ours = f"training error {100 * statistics.fmean(errors):.1f}% ({plural(len(errors), 'seed')})"
    outcome = outcome_of([(error <= UNTRAINED_ERROR) == trains for error in errors], len(errors))
    return Claim(text, "existence", outcome, ours, theirs, "final.csv", _command(group, name))

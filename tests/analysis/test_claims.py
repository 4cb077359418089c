"""Each claim gets the outcome that the runs give it."""

import re
from pathlib import Path

import pytest
from synthetic import Synthetic, only_group

from resexp.analysis.claims import (
    CAUSE,
    DIAGNOSED,
    NOT_REPRODUCED,
    NOT_TESTED,
    REFUTED,
    REPRODUCED,
    VANISH,
    Claim,
    claims,
    diagnosed,
)
from resexp.analysis.study import load_study
from resexp.analysis.verdict import BETTER, UNDECIDED, judge

WORKS = "Blocks with projections as shortcuts train, too"
NEEDLESS = "Projections are not essential: networks with them are not better"
KEEPS = "And SGD keeps such a network when it starts from one, at this recipe's rate"
SKIP = "A shortcut may skip one layer or several"
SINGLE = "A shortcut over a single layer has no advantage over a plain network"
DEGRADE = "Plain networks degrade with depth"
TURNS, SLOW = "From some depth on, deeper plain networks only get worse", "Deep plain networks learn slowly"
GUARANTEE = "Added residual layers are guaranteed not to hurt"
PLAIN_110, RESNET_110 = "Plain-110 does not train", "ResNet-110 trains, with its warm-up"


def found(study: Synthetic) -> dict[str, Claim]:
    (group,) = load_study(study.runs).groups
    tested = claims(group, judge(group, 0.005), [])
    return {claim.text.split(" (")[0]: claim for claim in tested if claim.text not in DIAGNOSED}


def of_depth(study: Synthetic) -> dict[str, str]:
    """The outcomes of claims about networks of different depths."""
    return {
        text: claim.outcome
        for text, claim in found(study).items()
        if text not in (WORKS, NEEDLESS, SKIP, SINGLE, KEEPS)
    }


@pytest.fixture
def study(runs: Path) -> Synthetic:
    return Synthetic(runs, changes={"recipe.row_every": 4000, "recipe.evaluate_every": 4000})


def test_runs_like_the_papers_reproduce_its_claims(runs: Path) -> None:
    study = Synthetic(runs)
    study.add_all(["plain20", "plain56", "resnet20", "resnet56", "plain110", "resnet110"], seeds=3)
    outcomes = of_depth(study)
    assert outcomes.pop(GUARANTEE) == UNDECIDED, "no number of seeds proves a guarantee"
    del outcomes[SLOW]  # these curves fall at the same pace
    assert outcomes == dict.fromkeys(outcomes, REPRODUCED)
    assert judge(only_group(runs), 0.005).residual.word == BETTER, "which is no degradation, either"
    claim = found(study)[DEGRADE]
    assert claim.ours.startswith("+4.3 points (95% interval ")
    assert claim.published == "+4.30 points after 64,000 iterations, digitised"
    assert claim.command == "resexp train -m model=plain20,plain56 data=cifar10 recipe=paper seed=0,1,2"
    assert found(study)["Added residual layers do not hurt"].published == "-1.78 points after 64,000 iterations"


def test_the_opposite_is_not_reproduced_and_better_is_not_worse(study: Synthetic) -> None:
    for seed in range(3):
        study.add("plain20", seed, 0.056, 0.13, noise=0)
        study.add("plain56", seed, 0.013 + seed / 1000, 0.09, noise=0)
        study.add("resnet20", seed, 0.001, 0.06, noise=0)
        study.add("resnet56", seed, 0.05 + seed / 1000, 0.09, noise=0)
        study.add("plain110", seed, 0.05, noise=0)
        study.add("resnet110", seed, 0.7, noise=0)
    outcomes = of_depth(study)
    assert outcomes.pop(GUARANTEE) == REFUTED
    del outcomes[SLOW], outcomes[TURNS]  # of plain-110's error, which is above plain-56's: see below
    assert outcomes == dict.fromkeys(outcomes, NOT_REPRODUCED)


def test_a_guarantee_is_refuted_by_one_seed_that_is_worse_by_more_than_the_margin(study: Synthetic) -> None:
    for seed, deep in enumerate((0.02, 0.054, 0.058)):
        study.add("resnet20", seed, 0.05, noise=0)
        study.add("resnet56", seed, deep, noise=0)
    claim = found(study)[GUARANTEE]
    assert claim.outcome == REFUTED
    assert claim.ours == "worse by more than 0.5 points in 1 of 3 seeds (seed 2: +0.8 points)"


@pytest.mark.parametrize(
    ("errors", "outcome", "ends"),
    [
        ((0.05, 0.04, 0.08, 0.2), REPRODUCED, "; worse from 44 layers on"),
        ((0.05, 0.04, 0.03, 0.02), NOT_REPRODUCED, "56 layers -3.0"),
        ((0.05, 0.09, 0.04, 0.2), REPRODUCED, "; worse from 56 layers on"),
    ],
)
def test_the_depth_from_which_plain_networks_only_get_worse(
    study: Synthetic, errors: tuple[float, ...], outcome: str, ends: str
) -> None:
    for seed in range(3):
        for depth, error in zip((20, 32, 44, 56), errors, strict=True):
            study.add(f"plain{depth}", seed, error + seed / 10_000 * depth / 20, noise=0)
    claim = found(study)[TURNS]
    assert claim.outcome == outcome
    assert claim.ours.endswith(ends)


def test_slow_is_told_in_iterations_until_half_of_the_images_are_learned(study: Synthetic) -> None:
    for seed in range(2):
        for name, error in (("plain20", 0.05), ("plain56", 0.6), ("resnet56", 0.01)):
            study.add(name, seed, error, noise=0)
    claim = found(study)[SLOW]
    assert claim.outcome == REPRODUCED
    assert "plain-56 never, never; ResNet-56 " in claim.ours
    assert "alone" not in claim.ours


def test_slow_names_the_one_seed_that_all_networks_have(study: Synthetic) -> None:
    for seed, name in ((0, "plain20"), (1, "plain20"), (1, "plain56"), (1, "resnet56")):
        study.add(name, seed, 0.05, noise=0)
    assert found(study)[SLOW].ours.endswith(" (seed 1 alone)")


def test_one_seed_leaves_a_comparison_undecided(study: Synthetic) -> None:
    study.add_all(["plain20", "plain56", "plain110"])
    assert found(study)[DEGRADE].outcome == found(study)[PLAIN_110].outcome == UNDECIDED
    assert found(study)[DEGRADE].ours.endswith("points (one seed, no interval)")


def test_a_claim_that_holds_for_some_seeds_only_is_undecided(study: Synthetic) -> None:
    study.add("plain110", 0, 0.78)
    study.add("plain110", 1, 0.3)
    assert found(study)[PLAIN_110].outcome == UNDECIDED


def test_resnet110_without_its_warm_up_tests_no_claim(runs: Path) -> None:
    study = Synthetic(runs, changes={"recipe.warmup": "never"})
    study.add_all(["plain110", "resnet110"], seeds=2)
    assert found(study)[RESNET_110].outcome == NOT_TESTED
    assert found(study)[PLAIN_110].outcome == REPRODUCED


def test_published_numbers_stand_only_beside_the_papers_data_and_recipe(runs: Path) -> None:
    study = Synthetic(runs, "shapes", "quick")
    study.add_all(["plain20", "plain56"], seeds=2)
    assert {claim.published for claim in found(study).values()} == {"-"}


def test_what_was_not_run_or_not_diagnosed_is_not_tested(study: Synthetic) -> None:
    study.add("plain20")
    assert {claim.outcome for claim in found(study).values()} == {NOT_TESTED}
    (group,) = load_study(study.runs).groups
    tested = diagnosed(group, VANISH, UNDECIDED, "plain-56: times 3, exploding")
    by_text = {claim.text: claim for claim in claims(group, judge(group, 0.005), [tested])}
    assert by_text[VANISH].outcome == UNDECIDED
    assert {by_text[text].outcome for text in DIAGNOSED if text != VANISH} == {NOT_TESTED}
    assert by_text[VANISH].command.startswith("resexp diagnose gradients group=cifar10/paper")


@pytest.mark.parametrize(
    ("vanish", "deep", "outcome"),
    [
        (NOT_REPRODUCED, "plain56", NOT_REPRODUCED),
        (REPRODUCED, "plain56", UNDECIDED),
        (UNDECIDED, "plain56", UNDECIDED),
        (NOT_REPRODUCED, "plain32", NOT_TESTED),
    ],
)
def test_networks_that_degrade_with_healthy_gradients_do_not_degrade_because_they_vanish(
    study: Synthetic, vanish: str, deep: str, outcome: str
) -> None:
    """That both happen at once would not show which causes which."""
    study.add_all(["plain20", deep], seeds=3)
    (group,) = load_study(study.runs).groups
    tested = claims(group, judge(group, 0.005), [diagnosed(group, VANISH, vanish, "plain-56: times 3, exploding")])
    (cause,) = [claim for claim in tested if claim.text == CAUSE]
    assert cause.outcome == outcome
    assert cause.ours == "-" if outcome == NOT_TESTED else cause.ours.endswith("plain-56: times 3, exploding")


@pytest.mark.parametrize(
    ("errors", "seeds", "outcomes"),
    [
        ((0.02, 0.05), 3, (REPRODUCED, REPRODUCED)),
        ((0.05, 0.02), 3, (REPRODUCED, NOT_REPRODUCED)),
        ((0.02, 0.05), 1, (UNDECIDED, UNDECIDED)),
        ((0.02, 0.9), 3, (NOT_REPRODUCED, REPRODUCED)),
    ],
)
def test_projections_train_and_are_not_essential(
    runs: Path, errors: tuple[float, float], seeds: int, outcomes: tuple[str, str]
) -> None:
    for shortcut, error in zip("AB", errors, strict=True):
        for seed in range(seeds):
            study = Synthetic(runs, "shapes", "quick", {"model.shortcut": shortcut})
            study.add("resnet56", seed, error + seed / 1000, noise=0)
    tested = found(Synthetic(runs))
    works, needless = tested[WORKS], tested[NEEDLESS]
    assert (works.outcome, needless.outcome) == outcomes
    assert works.ours == f"running training error: ResNet-56+shortcutB {100 * errors[1] + 0.1 * (seeds > 1):.1f}%"
    assert needless.ours.startswith(f"ResNet-56+shortcutB minus ResNet-56: {'+' if errors[0] < errors[1] else '-'}")
    assert needless.command.endswith("seed=0,1,2 model.shortcut=A,B,C")


def test_projections_and_identities_without_a_shared_seed_are_not_compared(runs: Path) -> None:
    for seed, shortcut in enumerate("AB"):
        Synthetic(runs, "shapes", "quick", {"model.shortcut": shortcut}).add("resnet56", seed, noise=0)
    tested = found(Synthetic(runs))
    assert (tested[WORKS].outcome, tested[NEEDLESS].outcome) == (UNDECIDED, NOT_TESTED)


@pytest.mark.parametrize(("classes", "error"), [(2, 0.5), (100, 0.65)])
def test_thresholds_for_ten_classes_decide_nothing_about_others(study: Synthetic, classes: int, error: float) -> None:
    for seed in range(3):
        for name in ("plain110", "resnet110", "plain20", "plain56", "resnet56"):
            study.add(name, seed, error, noise=0, data={"name": "folder", "digest": "d", "classes": classes})
    tested = found(study)
    assert {tested[text].outcome for text in (PLAIN_110, RESNET_110)} == {NOT_TESTED}
    assert tested[SLOW].outcome == (NOT_TESTED if classes == 2 else UNDECIDED)


def test_who_is_slow_is_not_decided_where_nobody_learns(study: Synthetic) -> None:
    for seed in range(2):
        for name in ("plain20", "plain56", "resnet56"):
            study.add(name, seed, 0.8, noise=0)
    assert found(study)[SLOW].outcome == UNDECIDED


def test_a_guarantee_needs_a_seed_that_both_networks_have(study: Synthetic) -> None:
    for name, first, error in (("resnet20", 0, 0.01), ("resnet56", 2, 0.2)):
        for seed in (first, first + 1):
            study.add(name, seed, error, noise=0)
    assert found(study)[GUARANTEE].outcome == NOT_TESTED


@pytest.mark.parametrize(
    ("single", "outcome"),
    [(0.05, NOT_REPRODUCED), (0.6, REPRODUCED), (0.4, UNDECIDED)],
    ids=["better", "worse", "level"],
)
def test_shortcuts_over_one_layer_or_several_are_judged(runs: Path, single: float, outcome: str) -> None:
    usual = Synthetic(runs, "shapes", "quick")
    assert found(usual_with(usual, "plain56", 0.4))[SKIP].outcome == NOT_TESTED
    usual_with(usual, "resnet56", 0.07)
    for skip, error in ((1, single), (3, 0.09)):
        usual_with(Synthetic(runs, "shapes", "quick", {"model.skip": skip}), "resnet56", error)
    tested = found(usual)
    assert tested[SKIP].outcome == REPRODUCED
    assert re.fullmatch(
        r"running training error: ResNet-56\+skip1 \d+\.\d%, ResNet-56\+skip3 \d+\.\d%", tested[SKIP].ours
    )
    assert tested[SINGLE].outcome == outcome
    assert tested[SINGLE].ours.startswith("ResNet-56+skip1 minus plain-56: ")


def usual_with(study: Synthetic, network: str, error: float) -> Synthetic:
    """Three seeds more, which differ by half a point."""
    for seed in range(3):
        study.add(network, seed, error + 0.005 * seed * (network == "resnet56"), noise=0)
    return study


def test_what_many_seeds_show_is_summarised(study: Synthetic) -> None:
    for network, train in (("plain20", 0.02), ("plain56", 0.06), ("resnet20", 0.005), ("resnet56", 0.05)):
        for seed in range(12):
            study.add(network, seed, train)
    claims = found(study)
    assert claims[SLOW].ours.startswith("plain-20 4,000; plain-56 ")
    assert claims[GUARANTEE].ours.endswith("seed 9: +4.5 points, 2 more)")


@pytest.mark.parametrize(("end", "outcome"), [(0.03, REPRODUCED), (0.3, NOT_REPRODUCED)])
def test_a_built_network_that_ends_no_worse_was_kept(runs: Path, tmp_path: Path, end: float, outcome: str) -> None:
    for seed in range(3):
        Synthetic(runs, "shapes", "quick").add("plain20", seed, 0.05 + seed / 1000, noise=0)
        weights = tmp_path / f"plain56-from-20-seed{seed}.pt"
        weights.write_bytes(bytes([seed]))
        started = Synthetic(runs, "shapes", "quick", {"start": weights})
        started.add("plain56", seed, end, noise=0, start={"file": str(weights), "sha256": "0" * 64})
    claim = found(Synthetic(runs))[KEEPS]
    assert claim.outcome == outcome
    assert claim.ours.startswith("plain-56+startfrom-20 minus plain-20: ")

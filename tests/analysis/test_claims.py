"""Each claim gets the outcome that the runs give it."""

from pathlib import Path

import pytest
from synthetic import Synthetic

from resexp.analysis.claims import (
    LOOKED_INTO,
    NOT_REPRODUCED,
    NOT_TESTED,
    REPRODUCED,
    VANISH,
    Claim,
    claims,
    looked_into,
)
from resexp.analysis.study import load_study
from resexp.analysis.verdict import UNDECIDED, judge


def found(study: Synthetic) -> dict[str, Claim]:
    (group,) = load_study(study.runs).groups
    return {
        claim.text.split(" (")[0]: claim
        for claim in claims(group, judge(group, 0.005), [])
        if claim.text not in LOOKED_INTO
    }


@pytest.fixture
def study(runs: Path) -> Synthetic:
    return Synthetic(runs)


def test_runs_like_the_papers_reproduce_its_claims(study: Synthetic) -> None:
    study.add_all(["plain20", "plain56", "resnet20", "resnet56", "plain110", "resnet110"], seeds=3)
    outcomes = {text: claim.outcome for text, claim in found(study).items()}
    assert outcomes == dict.fromkeys(outcomes, REPRODUCED)
    claim = found(study)["Plain networks degrade with depth"]
    assert claim.ours.startswith("+4.3 points (95% interval ")
    assert claim.published == "+4.30 points, digitised"
    assert claim.command == "resexp train -m model=plain20,plain56 data=cifar10 recipe=paper seed=0,1,2"
    assert found(study)["Added residual layers do not hurt"].published == "-1.78 points"


def test_the_opposite_is_not_reproduced(study: Synthetic) -> None:
    for seed in range(3):
        study.add("plain20", seed, 0.056, noise=0)
        study.add("plain56", seed, 0.013 + seed / 1000, noise=0)
        study.add("resnet20", seed, 0.001, 0.06, noise=0)
        study.add("resnet56", seed, 0.05 + seed / 1000, 0.09, noise=0)
        study.add("plain110", seed, 0.05, noise=0)
        study.add("resnet110", seed, 0.7, noise=0)
    outcomes = {text: claim.outcome for text, claim in found(study).items()}
    assert outcomes == dict.fromkeys(outcomes, NOT_REPRODUCED)


def test_one_seed_leaves_a_comparison_undecided(study: Synthetic) -> None:
    study.add_all(["plain20", "plain56"])
    claim = found(study)["Plain networks degrade with depth"]
    assert claim.outcome == UNDECIDED
    assert claim.ours.endswith("points (one seed, no interval)")
    study.add("plain110", 0, 0.78)
    assert found(study)["Plain-110 does not train"].outcome == UNDECIDED


def test_resnet110_without_its_warm_up_tests_no_claim(runs: Path) -> None:
    study = Synthetic(runs, changes={"recipe.warmup": "never"})
    study.add_all(["plain110", "resnet110"], seeds=2)
    assert found(study)["ResNet-110 trains, with its warm-up"].outcome == NOT_TESTED
    assert found(study)["Plain-110 does not train"].outcome == REPRODUCED


def test_what_was_not_run_is_not_tested(study: Synthetic) -> None:
    study.add("plain20")
    assert {claim.outcome for claim in found(study).values()} == {NOT_TESTED}


def test_a_claim_that_holds_for_some_seeds_only_is_undecided(study: Synthetic) -> None:
    study.add("plain110", 0, 0.78)
    study.add("plain110", 1, 0.3)
    assert found(study)["Plain-110 does not train"].outcome == UNDECIDED


def test_published_numbers_stand_only_beside_the_papers_data_and_recipe(runs: Path) -> None:
    study = Synthetic(runs, "shapes", "quick")
    study.add_all(["plain20", "plain56"], seeds=2)
    assert {claim.published for claim in found(study).values()} == {"-"}


def test_a_diagnosis_that_was_not_made_leaves_its_claims_untested(study: Synthetic) -> None:
    study.add("plain20")
    (group,) = load_study(study.runs).groups
    tested = looked_into(group, VANISH, UNDECIDED, "plain-56: times 3, exploding")
    told = {claim.text: claim for claim in claims(group, judge(group, 0.005), [tested])}
    assert told[VANISH].outcome == UNDECIDED
    assert {told[text].outcome for text in LOOKED_INTO if text != VANISH} == {NOT_TESTED}
    assert told[VANISH].command == "resexp diagnose gradients group=cifar10/paper"

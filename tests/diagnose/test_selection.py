"""Which networks are measured, and why others are not."""

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import Synthetic

from resexp.analysis.study import load_study
from resexp.diagnose.selection import Job, Selection
from resexp.errors import UserError
from resexp.storage.run import FAILED, INTERRUPTED


@pytest.fixture
def study(runs: Path) -> Synthetic:
    study = Synthetic(runs, "cifar10", "short32")
    study.add_all(["plain20", "resnet20"])
    study.add("plain110", 0, 0.89, 0.9, noise=0)
    study.add("plain56", 0, state=INTERRUPTED)
    study.add("resnet56", 0, state=FAILED)
    return study


def plan(study: Synthetic, diagnosis: str, train: int = 50_000, test: int = 10_000) -> Selection:
    (group,) = load_study(study.runs).groups
    return Selection(diagnosis, group, study.runs, "d", train, test, 128, 1000)


def names(jobs: list[Job]) -> list[str]:
    return [str(job.subject) for job in jobs]


@pytest.mark.parametrize("diagnosis", ["responses", "lesions"])
def test_networks_that_did_not_train_or_are_not_finished_are_left_out_by_name(study: Synthetic, diagnosis: str) -> None:
    jobs, left_out = plan(study, diagnosis).jobs(None, None, [])
    assert names(jobs) == ["plain-20 seed 0 after 2,000 iterations", "ResNet-20 seed 0 after 2,000 iterations"]
    assert left_out == [
        "plain-56 seed 0: interrupted at iteration 1,000 of 2,000",
        "plain-110 seed 0: did not train, running training error 89.0%",
        "ResNet-56 seed 0: failed at iteration 1,000 of 2,000",
    ]


@pytest.mark.parametrize(
    ("network", "line"),
    [
        ("plain110", r"networks=plain110: seed 0 cannot be diagnosed \(did not train"),
        ("plain56", r"networks=plain56: seed 0 cannot be diagnosed \(interrupted at iteration 1,000"),
        ("plain44", r"networks=plain44: no run of it in cifar10/short32; train it first"),
    ],
)
def test_what_is_asked_for_by_name_and_cannot_be_measured_is_refused(study: Synthetic, network: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        plan(study, "responses").jobs([network], None, [])


def test_a_seed_that_was_not_run_is_named(study: Synthetic) -> None:
    jobs, left_out = plan(study, "lesions").jobs(None, [0, 3], [])
    assert len(jobs) == 2
    assert "plain-20 seed 3: not run" in left_out


def test_initial_gradients_need_no_run_and_those_of_a_network_that_did_not_train_are_measured(
    study: Synthetic,
) -> None:
    jobs, left_out = plan(study, "gradients").jobs(None, None, [0, 1])
    initial = [job for job in jobs if job.run is None]
    assert len(initial) == 6 * 2 * 2
    assert {job.model.norm for job in initial} == {"batch", "none"}
    assert {(job.subject.network, job.model.depth, job.model.residual) for job in initial} >= {
        ("plain110", 110, False),
        ("resnet56", 56, True),
    }
    assert "plain-110 seed 0 after 2,000 iterations" in names(jobs)
    assert len(left_out) == 2


def test_an_unknown_network_is_named(study: Synthetic) -> None:
    with pytest.raises(UserError, match="networks=plain21: neither among the runs nor a preset"):
        plan(study, "gradients").jobs(["plain21"], None, [0])


def test_no_more_images_than_there_are(study: Synthetic) -> None:
    counts = {what: plan(study, what, 50, 20).count for what in ("gradients", "responses", "lesions")}
    assert counts == {"gradients": 50, "responses": 50, "lesions": 20}
    assert replace(plan(study, "lesions", 50, 20), lesion_images=0).images == "20 test images"

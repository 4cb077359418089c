"""Which networks are measured, and why others are not."""

from pathlib import Path
from typing import Any

import pytest
from synthetic import Synthetic

from resexp.analysis.study import load_study
from resexp.diagnose.selection import Choice, Job, Selection
from resexp.errors import UserError
from resexp.storage.run import FAILED, INTERRUPTED

DATA: dict[str, Any] = {"digest": "d", "train_images": 50_000, "test_images": 10_000}


@pytest.fixture
def study(runs: Path) -> Synthetic:
    study = Synthetic(runs, "cifar10", "short32")
    study.add_all(["plain20", "resnet20"])
    study.add("plain110", 0, 0.89, 0.9, noise=0)
    study.add("plain56", 0, state=INTERRUPTED)
    study.add("resnet56", 0, state=FAILED)
    return study


def jobs(
    study: Synthetic,
    diagnosis: str,
    networks: list[str] | None = None,
    seeds: list[int] | None = None,
    initial_seeds: tuple[int, ...] = (),
    scales: tuple[float, ...] = (1.0,),
    depths: list[int] | None = None,
) -> tuple[list[Job], list[str]]:
    (group,) = load_study(study.runs).groups
    choice = Choice(networks, seeds, [*initial_seeds], None, 128, 1000, [*scales], 16, depths)
    return Selection(diagnosis, group, study.runs, DATA, choice).jobs()


def names(jobs: list[Job]) -> list[str]:
    return [str(job.subject) for job in jobs]


@pytest.mark.parametrize("diagnosis", ["responses", "lesions"])
def test_networks_that_did_not_train_or_are_not_finished_are_left_out_by_name(study: Synthetic, diagnosis: str) -> None:
    chosen, left_out = jobs(study, diagnosis)
    assert names(chosen) == ["plain-20 seed 0 after 2,000 iterations", "ResNet-20 seed 0 after 2,000 iterations"]
    assert left_out == [
        "plain-56 seed 0: interrupted at iteration 1,000 of 2,000",
        "plain-110 seed 0: did not train, running training error 89.0%",
        "ResNet-56 seed 0: failed at iteration 1,000 of 2,000",
    ]


@pytest.mark.parametrize(
    ("diagnosis", "network", "line"),
    [
        ("responses", "plain110", r"model=plain110: seed 0 cannot be diagnosed \(did not train"),
        ("responses", "plain56", r"model=plain56: seed 0 cannot be diagnosed \(interrupted at iteration 1,000"),
        ("construction", "plain56", r"model=plain56: seed 0 cannot be diagnosed \(interrupted at iteration 1,000"),
        ("responses", "plain44", r"model=plain44: no run of it in cifar10/short32; train it first"),
        ("gradients", "plain21", r"model=plain21: neither among the runs nor a preset"),
    ],
)
def test_a_network_that_is_named_and_cannot_be_measured_is_refused(
    study: Synthetic, diagnosis: str, network: str, line: str
) -> None:
    with pytest.raises(UserError, match=line):
        jobs(study, diagnosis, [network], initial_seeds=(0,))


def test_a_seed_that_was_not_run_is_named(study: Synthetic) -> None:
    chosen, left_out = jobs(study, "lesions", seeds=[0, 3])
    assert len(chosen) == 2
    assert "plain-20 seed 3: not run" in left_out


def test_initial_gradients_need_no_run_and_those_of_a_network_that_did_not_train_are_measured(
    study: Synthetic,
) -> None:
    chosen, left_out = jobs(study, "gradients", initial_seeds=(0, 1))
    initial = [job for job in chosen if job.run is None]
    assert len(initial) == 6 * 2 * 2
    assert {job.model.norm for job in initial} == {"batch", "none"}
    assert {(job.subject.network, job.model.depth, job.model.residual) for job in initial} >= {
        ("plain110", 110, False),
        ("resnet56", 56, True),
    }
    assert "plain-110 seed 0 after 2,000 iterations" in names(chosen)
    assert len(left_out) == 2


def test_only_networks_without_norm_are_measured_at_every_scale_and_on_fewer_images(study: Synthetic) -> None:
    chosen, _ = jobs(study, "gradients", ["plain20"], initial_seeds=(0,), scales=(1.0, 0.5, 0.5))
    initial = [job for job in chosen if job.run is None]
    assert [(job.model.norm, job.subject.scale, job.count) for job in initial] == [
        ("batch", 1.0, 128),
        ("none", 1.0, 16),
        ("none", 0.5, 16),
    ]
    assert [str(job.subject) for job in initial] == [
        "plain-20 seed 0 at initialisation",
        "plain-20 seed 0 at initialisation without norm",
        "plain-20 seed 0 at initialisation without norm, weights times 0.5",
    ]
    assert len({job.subject.key for job in initial}) == 3


def test_the_shallowest_of_each_kind_is_built_upon_beside_what_was_trained(study: Synthetic) -> None:
    study.add("resnet20", 1)
    study.add("resnet32", 0)
    chosen, _ = jobs(study, "construction")
    assert names(chosen) == [
        "plain-20 seed 0 after 2,000 iterations",
        "plain-56 built from plain-20 seed 0",
        "plain-110 built from plain-20 seed 0",
        "plain-110 seed 0 after 2,000 iterations",
        "ResNet-20 seed 0 after 2,000 iterations",
        "ResNet-32 built from ResNet-20 seed 0",
        "ResNet-32 seed 0 after 2,000 iterations",
        "ResNet-56 built from ResNet-20 seed 0",
        "ResNet-20 seed 1 after 2,000 iterations",
        "ResNet-32 built from ResNet-20 seed 1",
        "ResNet-56 built from ResNet-20 seed 1",
    ]


@pytest.mark.parametrize(
    ("network", "depth", "name"),
    [("resnet20", 56, "resnet56"), ("resnet20", 26, "resnet20+depth26"), ("plain110", 116, "plain110+depth116")],
)
def test_any_depth_can_be_built_from_a_network_that_is_named(
    study: Synthetic, network: str, depth: int, name: str
) -> None:
    chosen, _ = jobs(study, "construction", [network], depths=[depth])
    (built,) = [job for job in chosen if job.subject.built]
    assert (built.subject.network, built.model.depth, built.subject.trained_as) == (name, depth, network)
    assert built.shallower is not None
    assert built.shallower.kind == built.model.kind


@pytest.mark.parametrize(
    ("diagnosis", "count", "words"),
    [
        ("gradients", 50, "the first mini-batch of 50 training images"),
        ("responses", 50, "all 50 training images"),
        ("lesions", 20, "20 test images"),
        ("construction", 50, "all 50 training and 20 test images"),
    ],
)
@pytest.mark.parametrize("lesion_images", [0, 1000])
def test_no_more_images_than_there_are(
    study: Synthetic, diagnosis: str, count: int, words: str, lesion_images: int
) -> None:
    (group,) = load_study(study.runs).groups
    choice = Choice(None, None, [], None, 128, lesion_images, [], 64, None)
    few = Selection(diagnosis, group, study.runs, DATA | {"train_images": 50, "test_images": 20}, choice)
    for norm in ("batch", "none"):
        assert (few.count(norm), few.images(norm)) == (count, words)

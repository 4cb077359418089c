"""`plan=true`: what a sweep would do, without doing it."""

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import TINY, Here
from synthetic import Synthetic

from resexp.storage.run import FAILED, INTERRUPTED, Run
from resexp.sweep import plan

TRAINED = ("train", "-m", "data=cifar10", "recipe=paper", "device=cuda", "runs=runs")


@pytest.fixture
def study(tmp_path: Path) -> Synthetic:
    """Runs of the paper's recipe in the folder that `here` works in: 30 seconds a layer on a GPU."""
    return Synthetic(tmp_path / "runs")


def lines(said: str) -> dict[str, str]:
    """What is said of each run by its place, and of all of them."""
    told = [line.split("  ", 1) for line in said.splitlines()]
    return {parts[0]: parts[-1].strip() for parts in told}


def test_each_run_is_told_with_its_time_and_disk(here: Here, study: Synthetic, tmp_path: Path) -> None:
    study.add("plain20")
    study.add("resnet20", state=INTERRUPTED)
    study.add("plain56", state=FAILED, error="the loss is not finite at iteration 31990; use recipe.lr below 0.1")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = lines(here(*TRAINED, "model=plain20,resnet20,plain56,resnet110", "plan=true"))
    assert said["runs/cifar10/paper/plain20/seed0"] == "finished"
    assert said["runs/cifar10/paper/resnet20/seed0"].startswith("resumes at 32,000 of 64,000, about ")
    assert "failed before: the loss is not finite" in said["runs/cifar10/paper/plain56/seed0"]
    assert said["runs/cifar10/paper/resnet110/seed0"].startswith("new, about ")
    assert said["runs/cifar10/paper/resnet110/seed0"].endswith(" MB")
    (whole,) = [line for line in said if line.startswith("3 runs to train")]
    assert whole.endswith("as fast as seen on NVIDIA H200")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_time_is_that_of_the_nearest_network(study: Synthetic) -> None:
    study.add("plain20")  # 600 seconds
    study.add("resnet56")  # 1,680 seconds
    seen = plan.speeds(study.runs, "auto")
    again = replace(study.config("plain20", 1), runs=str(study.runs), directory=study.runs / "new")
    expected = plan.expect(again, seen)
    assert expected.seconds == pytest.approx(600)
    deep = replace(study.config("plain56", 1), directory=study.runs / "new")
    assert plan.expect(deep, seen).seconds == pytest.approx(1680, rel=0.01)


def test_only_the_device_that_is_asked_for_tells(study: Synthetic) -> None:
    study.add("plain20")
    assert plan.speeds(study.runs, "auto")
    assert plan.speeds(study.runs, "cuda:0")
    assert not plan.speeds(study.runs, "cpu")


def test_without_a_speed_no_time_is_told(here: Here, tmp_path: Path) -> None:
    said = here("train", "-m", *TINY, "seed=0,1", "plan=true")
    assert "2 runs to train" in said
    assert "how long cannot be said" in said
    assert not list(tmp_path.iterdir())


def test_a_single_run_can_be_planned(here: Here, tmp_path: Path) -> None:
    assert "1 run to train" in here("train", *TINY, "plan=true")
    assert not list(tmp_path.iterdir())


def test_what_is_finished_and_what_cannot_go_on_are_told(here: Here, tmp_path: Path) -> None:
    here("train", *TINY, "seed=0")
    (place,) = [path.parent for path in tmp_path.rglob("run.json")]
    said = here("train", "-m", *TINY, "seed=0", "plan=true")
    assert "nothing to train" in said
    (place / "run.json").write_text("{")
    assert "would fail: " in here("train", "-m", *TINY, "seed=0", "plan=true")


@pytest.mark.parametrize("keep", ["snapshots=false", "snapshots=true"])
def test_the_disk_told_is_what_a_run_takes(here: Here, tmp_path: Path, keep: str) -> None:
    here("train", *TINY, "checkpoint_seconds=0", keep)
    (run,) = [Run(path.parent) for path in tmp_path.rglob("run.json")]
    taken = sum(path.stat().st_size for path in run.directory.rglob("*") if path.is_file())
    said = here("train", *TINY, "seed=1", "plan=true", keep)
    told = float(said.split(" MB")[0].rpartition(" ")[2]) * 1e6
    assert 0.8 * taken < told < 1.2 * taken

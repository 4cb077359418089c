"""`plan=true`: what a sweep would do, without doing it."""

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from conftest import TINY, Here
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig
from synthetic import Synthetic

from resexp.config.compose import compose
from resexp.errors import UserError
from resexp.storage.run import FAILED, INTERRUPTED
from resexp.sweep import plan

TRAINED = ("train", "-m", "data=cifar10", "recipe=paper", "device=cuda", "runs=runs")


@pytest.fixture
def study(tmp_path: Path) -> Synthetic:
    """Runs of the paper's recipe in the folder that `here` works in: 30 seconds for each layer, on a GPU."""
    return Synthetic(tmp_path / "runs")


def lines(output: str) -> dict[str, str]:
    """What is printed of each run by its place, and of all of them."""
    parts = [line.split("  ", 1) for line in output.splitlines()]
    return {first: rest[-1].strip() if rest else first for first, *rest in parts}


def test_each_run_is_listed_with_its_time_and_disk(here: Here, study: Synthetic, tmp_path: Path) -> None:
    study.add("plain20")
    study.add("resnet20", state=INTERRUPTED)
    study.add("plain56", state=FAILED, error="the loss is not finite at iteration 31990; use recipe.lr below 0.1")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    listed = lines(here(*TRAINED, "model=plain20,resnet20,plain56,resnet110", "plan=true"))
    assert listed["runs/cifar10/paper/plain20/seed0"] == "finished"
    assert listed["runs/cifar10/paper/resnet20/seed0"].startswith("resumes at 32,000 of 64,000, about ")
    assert "failed before: the loss is not finite" in listed["runs/cifar10/paper/plain56/seed0"]
    assert listed["runs/cifar10/paper/resnet110/seed0"].startswith("new, about ")
    assert listed["runs/cifar10/paper/resnet110/seed0"].endswith(" MB")
    (total,) = [line for line in listed if line.startswith("3 runs to train")]
    assert total.endswith("as fast as seen on NVIDIA H200")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_time_is_that_of_the_nearest_network_on_the_device_that_is_wanted(study: Synthetic) -> None:
    study.add("plain20")  # 600 seconds
    study.add("resnet56")  # 1,680 seconds
    seen = plan.speeds(study.runs, "auto")
    for network, seconds, rel in (("plain20", 600, 1e-6), ("plain56", 1680, 0.01)):
        config = replace(study.config(network, 1), runs=str(study.runs), directory=study.runs / "new")
        assert plan.expect(config, seen).seconds == pytest.approx(seconds, rel=rel)
    assert plan.speeds(study.runs, "cuda:0") == seen
    assert not plan.speeds(study.runs, "cpu")


def speed(began: float, ended: float) -> plan.Speed:
    return plan.Speed(1.0, 1.0, "a GPU", began, ended)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([(0, 10)], 1),
        ([(0, 10), (20, 30)], 1),
        ([(0, 10), (0, 10), (0, 10), (0, 10)], 4),
        ([(0, 20), (5, 10), (100, 120)], 1.125),
        ([(0, 10), (math.nan, math.nan), (math.nan, math.nan)], 1),
        ([(math.nan, math.nan)], 1),
    ],
)
def test_runs_that_trained_at_the_same_time_count_as_so_many_at_once(
    times: list[tuple[float, float]], expected: float
) -> None:
    assert plan.at_once([speed(*one) for one in times]) == pytest.approx(expected)


def test_a_sweep_like_one_that_trained_at_once_takes_as_much_less_time(study: Synthetic) -> None:
    for seed in range(4):
        study.add("plain20", seed)  # all begun at the same time, each 600 seconds
    configs = [
        replace(study.config("plain20", seed), runs=str(study.runs), directory=study.runs / f"new{seed}")
        for seed in range(4, 12)
    ]
    text, expected = plan.table(configs)
    assert [one.seconds for one in expected] == [pytest.approx(600)] * 8
    assert "; 4.0 at once they take about 20m00s, as fast as seen on " in text
    assert "; one after another they take about 10m00s, as fast as seen on " in plan.table(configs[:1])[0]


@pytest.mark.parametrize(("sweep", "total"), [(["-m", "seed=0,1"], "2 runs to train"), ([], "1 run to train")])
def test_without_a_speed_no_time_is_given(here: Here, tmp_path: Path, sweep: list[str], total: str) -> None:
    output = here("train", *sweep, *TINY, "plan=true")
    assert total in output
    assert "no run there has been trained on this device yet" in output
    assert not list(tmp_path.iterdir())


def test_what_is_finished_and_what_cannot_be_resumed_are_named(here: Here, tmp_path: Path) -> None:
    here("train", *TINY, "seed=0")
    assert "nothing to train" in here("train", "-m", *TINY, "seed=0", "plan=true")
    (record,) = tmp_path.rglob("run.json")
    record.write_text("{")
    assert "would fail: " in here("train", "-m", *TINY, "seed=0", "plan=true")


@pytest.mark.parametrize("keep", ["snapshots=false", "snapshots=true"])
def test_the_disk_that_is_announced_is_what_a_run_takes(here: Here, tmp_path: Path, keep: str) -> None:
    here("train", *TINY, "checkpoint_seconds=0", keep)
    (run,) = [path.parent for path in tmp_path.rglob("run.json")]
    taken = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    output = here("train", *TINY, "seed=1", "plan=true", keep)
    assert float(output.split(" MB")[0].rpartition(" ")[2]) * 1e6 == pytest.approx(taken, rel=0.2)


def test_a_sweep_names_each_run_as_it_would_alone_and_reads_each_choice_of_files_once(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[str]] = []
    load = ConfigLoaderImpl.load_sweep_config

    def counted(self: ConfigLoaderImpl, master: DictConfig, words: list[str]) -> DictConfig:
        read.append(words)
        return load(self, master, words)

    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counted)
    sweep = {
        "model": ("plain20", "resnet20"),
        "recipe.pad": ("20", "${seed}"),
        "recipe.lr": ("0.1", "1e-2", "1"),
        "++recipe.momentum": ("0.5",),
        "seed": tuple(map(str, range(12))),
    }
    listed = lines(here("train", "-m", "plan=true", *(f"{key}={','.join(values)}" for key, values in sweep.items())))
    alone = [
        [f"{key}={value}" for key, value in zip(sweep, values, strict=True)] for values in product(*sweep.values())
    ]
    assert len(alone) == 144
    assert {str(compose(*words).directory) for words in alone[::13]} <= listed.keys()
    assert sum(name.startswith("runs/") for name in listed) == 144
    assert sorted(map(tuple, read)) == [("model=plain20",), ("model=resnet20",)]
    with pytest.raises(UserError, match="seed=-1: from 0 to"):
        here("train", "-m", "plan=true", "seed=0,1,-1")

"""What happens around a run: clocks that jump, folders that move or cannot be written, sweeps that meet."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, Here
from faulty import Outcome, at_runs, caught, command, finishes_as, interrupt, outcome, points
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from resexp.config.compose import compose
from resexp.config.settings import Config
from resexp.storage.run import Run, find_runs
from resexp.training.train import train


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run that has ended undisturbed."""
    config = compose(*TINY, f"runs={tmp_path_factory.mktemp('calm')}")
    train(config)
    return config


@pytest.fixture
def undisturbed(calm: Config) -> Outcome:
    return outcome(calm)


def test_a_clock_that_is_set_back_again_and_again(
    calm: Config, undisturbed: Outcome, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = at_runs(calm, runs)
    ticks = itertools.count()
    start = datetime.now()

    class Backwards(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return (start - timedelta(hours=next(ticks))).astimezone(tz)

    monkeypatch.setattr("time.time", lambda: start.timestamp() - 3600 * next(ticks))
    for room in ("resexp.storage.provenance", "resexp.storage.run"):
        monkeypatch.setattr(f"{room}.datetime", Backwards)
    interrupt(config, 3)
    watching = EventAccumulator(str(config.directory), size_guidance={"scalars": 0})
    watching.Reload()
    interrupt(config, 7)
    watching.Reload()
    finishes_as(config, undisturbed)
    watching.Reload()
    seen = [(event.step, event.value) for event in watching.Scalars("error/train")]
    assert seen == points(config.directory, "error/train"), "who has watched from the start sees the same points"
    assert all(session["seconds"] >= 0 for session in Run(config.directory).record().sessions)
    print(f"a clock set back {next(ticks)} times by an hour: ended bit-identical")


def test_a_renamed_and_a_copied_folder_of_runs(calm: Config, undisturbed: Outcome, tmp_path: Path) -> None:
    first = at_runs(calm, tmp_path / "first")
    interrupt(first, 7)
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    (tmp_path / "first").rename(tmp_path / "renamed")
    for name in ("renamed", "copy"):
        finishes_as(at_runs(calm, tmp_path / name), undisturbed)
    assert not (tmp_path / "first").exists()
    print("a renamed and a copied folder of runs: both ended bit-identical")


@pytest.fixture
def read_only(calm: Config, runs: Path) -> Iterator[Path]:
    """A folder with a finished and an interrupted run, that nothing can be written to, not even by root."""
    shutil.copytree(calm.runs, runs)
    interrupt(compose(*TINY, "seed=1", f"runs={runs}"), 7)
    if os.geteuid():
        for path in [runs, *runs.rglob("*")]:
            path.chmod(path.stat().st_mode & ~0o222)
        yield runs
        for path in [runs, *runs.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)
        return
    for options in ("bind", "remount,bind,ro"):
        mount = ["mount", "-o", options, str(runs), str(runs)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("root may write everywhere, and may not mount anything read-only here")
    yield runs
    subprocess.run(["umount", str(runs)], check=True)


def test_a_folder_that_cannot_be_written(read_only: Path, here: Here, caplog: pytest.LogCaptureFixture) -> None:
    before = {path: path.stat().st_mtime_ns for path in read_only.rglob("*")}
    assert "interrupted at iteration" in here("report", f"runs={read_only}")
    here("train", *TINY, f"runs={read_only}")
    assert caplog.messages[-1].endswith("finished already")
    (finished, _) = find_runs(read_only)
    assert "after 12 of 12 iterations" in here("evaluate", f"run={finished}", "device=cpu")
    said = caught(compose(*TINY, "seed=1", f"runs={read_only}"))
    assert said.startswith("runs: cannot write")
    assert said.endswith("choose a folder with runs=PATH")
    assert {path: path.stat().st_mtime_ns for path in read_only.rglob("*")} == before
    print("a read-only folder of runs: report, evaluate and a finished run work, training refuses in one line")


def test_two_sweeps_over_the_same_runs_at_once(tmp_path: Path, thorough: bool) -> None:
    rounds, words = (5 if thorough else 1), ("finished, training error", "finished before", "busy")
    sweep = ["train", "-m", *TINY, "model=plain20,resnet20", "seed=0,1"]
    busy = 0
    for number in range(rounds):
        runs, said = tmp_path / str(number), [tmp_path / f"said{at}" for at in (0, 1)]
        processes = [command(*sweep, f"runs={runs}", said=file) for file in said]
        for process, file in zip(processes, said, strict=True):
            process.join()
            assert process.exitcode == 0, file.read_text()
        told = [line for file in said for line in file.read_text().splitlines() if line.startswith(f"{runs}/")]
        table = [line for line in told if any(f"  {word}" in line for word in words)]
        assert len(table) == 8
        assert [len(run.record().sessions) for run in find_runs(runs)] == [1] * 4
        busy += sum("  busy" in line for line in table)
    print(f"two sweeps at once, {rounds} times: {4 * rounds} runs, each trained once, {busy} times told to be busy")

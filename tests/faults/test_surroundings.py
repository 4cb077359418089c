"""What happens around a run: clocks that jump, folders that move or cannot be written, sweeps that meet."""

import itertools
import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, Here
from faulty import SHORT, Calm, at_runs, command, finishes_as, interrupt, mounted, points, refusal, tried
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from resexp.config.compose import compose
from resexp.config.settings import Config
from resexp.storage.run import Run, find_runs


def test_a_clock_that_is_set_back_again_and_again(
    calm: Calm, disturbed: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    start = datetime.now()

    class Backwards(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return (start - timedelta(hours=next(ticks))).astimezone(tz)

    monkeypatch.setattr("time.time", lambda: start.timestamp() - 3600 * next(ticks))
    for module in ("resexp.storage.provenance", "resexp.storage.run"):
        monkeypatch.setattr(f"{module}.datetime", Backwards)
    interrupt(disturbed, 3)
    watching = EventAccumulator(str(disturbed.directory), size_guidance={"scalars": 0})
    watching.Reload()
    interrupt(disturbed, 7)
    watching.Reload()
    finishes_as(disturbed, calm.outcome)
    watching.Reload()
    seen = [(event.step, event.value) for event in watching.Scalars("error/train")]
    assert seen == points(disturbed.directory, "error/train"), "who has watched from the start sees the same points"
    assert all(session["seconds"] >= 0 for session in Run(disturbed.directory).record().sessions)
    tried("clocks", 1, f"a clock set back {next(ticks)} times by an hour: ended bit-identical")


def test_a_renamed_and_a_copied_folder_of_runs(calm: Calm, tmp_path: Path) -> None:
    first, copy, renamed = (tmp_path / name for name in ("first", "copy", "renamed"))
    interrupt(at_runs(calm.config, first), 7)
    shutil.copytree(first, copy)
    first.rename(renamed)
    for runs in (renamed, copy):
        finishes_as(at_runs(calm.config, runs), calm.outcome)
    assert not first.exists()
    tried("moved folders", 2, "a renamed and a copied folder of runs: both ended bit-identical")


@pytest.fixture
def read_only(calm: Calm, runs: Path) -> Iterator[Path]:
    """A folder with a finished and an interrupted run, that nothing can be written to, not even by root."""
    shutil.copytree(calm.config.runs, runs)
    interrupt(compose(*SHORT, "seed=1", f"runs={runs}"), 7)
    if not os.geteuid():
        with mounted(runs, f"-o bind {runs}", f"-o remount,bind,ro {runs}"):
            yield runs
        return
    paths = [runs, *runs.rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    yield runs
    for path in paths:
        path.chmod(path.stat().st_mode | 0o200)


def test_a_folder_that_cannot_be_written_is_read_and_refused_for_training(
    read_only: Path, here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    before = {path: path.stat().st_mtime_ns for path in read_only.rglob("*")}
    assert "interrupted at iteration" in " ".join(here("report", f"runs={read_only}", "verbose=true").split())
    here("train", *SHORT, f"runs={read_only}")
    assert caplog.messages[-1].endswith("finished already")
    (finished, _) = find_runs(read_only)
    assert "after 12 of 12 iterations" in here("evaluate", f"runs={finished}", "device=cpu")
    line = refusal(compose(*SHORT, "seed=1", f"runs={read_only}"))
    assert line.startswith("runs: cannot write")
    assert line.endswith("choose a folder with runs=PATH")
    assert {path: path.stat().st_mtime_ns for path in read_only.rglob("*")} == before
    line = "a read-only folder of runs: report, evaluate and a finished run work, training refuses in one line"
    tried("read-only folders", 1, line)


def test_two_sweeps_over_the_same_runs_at_once_train_each_run_once(tmp_path: Path, thorough: bool) -> None:
    rounds, words, busy = (5 if thorough else 1), ("finished, training error", "finished before", "busy"), 0
    sweep = ["train", "-m", *TINY, "model=plain20,resnet20", "seed=0,1"]
    for number in range(rounds):
        runs, outputs = tmp_path / str(number), [tmp_path / f"output{at}" for at in (0, 1)]
        processes = [command(*sweep, f"runs={runs}", output=file) for file in outputs]
        for process, file in zip(processes, outputs, strict=True):
            process.join()
            assert process.exitcode == 0, file.read_text()
        lines = [line for file in outputs for line in file.read_text().splitlines() if line.startswith(f"{runs}/")]
        table = [line for line in lines if any(f"  {word}" in line for word in words)]
        assert len(table) == 8
        assert [len(run.record().sessions) for run in find_runs(runs)] == [1] * 4
        busy += sum("  busy" in line for line in table)
    line = f"two sweeps at once, {rounds} times: {4 * rounds} runs, each trained once, {busy} times found busy"
    tried("sweeps that meet", rounds, line)

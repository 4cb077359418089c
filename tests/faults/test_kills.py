"""A run that is killed at any moment is resumed to the bytes of the undisturbed one."""

import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from faulty import SHORT, Calm, Disk, at_runs, command, copied, finishes_as, training, tried, wait_for

from resexp.config.settings import Config
from resexp.storage.run import FINISHED, INTERRUPTED, Run

SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


def half_written(config: Config) -> bool:
    return any(config.directory.glob(".tmp-*"))


def test_killed_at_random_moments(calm: Calm, tmp_path: Path, thorough: bool) -> None:
    chance, seconds = random.Random(0), calm.seconds
    wanted, kills, writing, attempts = (25 if thorough else 2), 0, 0, 0
    while kills < wanted:
        config = at_runs(calm.config, tmp_path / str(attempts))
        attempts += 1
        process = training(config, tmp_path / "output")
        began = wait_for(Run(config.directory).lock_file, process)
        process.join(seconds * (kills + chance.random()) / wanted)  # over the whole duration, the end included
        process.kill()
        process.join()
        if process.exitcode == 0:  # ended before its moment came: runs are quicker now than the undisturbed one was
            seconds = min(seconds, time.monotonic() - began)
            continue
        assert process.exitcode == -signal.SIGKILL
        kills += 1
        writing += half_written(config)
        finishes_as(config, calm.outcome)
    line = f"SIGKILL at random moments: {kills} kills, {writing} with a file half written, all ended bit-identical"
    tried("killed trainings", kills, line)


def places(calm: Calm, thorough: bool) -> list[int]:
    """Before which of a training's changes of files to stop it: in a thorough test before each."""
    numbers = range(1, calm.operations + 1)
    return [*numbers] if thorough else [random.Random(1).choice(numbers), calm.operations]  # where it is finished


@pytest.mark.parametrize("lost", ["", "contents", "contents and names"])
def test_killed_before_any_file_operation(calm: Calm, tmp_path: Path, thorough: bool, lost: str) -> None:
    """Or power is lost, and with it what was not synced: contents alone, or names in folders, too."""
    numbers, writing, empty = places(calm, thorough), 0, 0
    for number in numbers:
        config = at_runs(calm.config, tmp_path / str(number))
        disk = Disk(tmp_path / f"kept{number}", names="names" in lost) if lost else None
        process = training(config, tmp_path / "output", die_before=number, disk=disk)
        process.join()
        assert process.exitcode == -signal.SIGKILL, (tmp_path / "output").read_text()
        writing += half_written(config)
        empty += any(path.name != ".lock" and not path.stat().st_size for path in config.directory.glob("*.*"))
        finishes_as(config, calm.outcome)
    stopped = f"at {len(numbers)} of the {calm.operations} places before it changes a file"
    if lost:
        line = f"power lost {stopped}, with it {lost} that were not synced: {empty} with an empty file"
    else:
        line = f"training killed {stopped}: {writing} with a temporary file"
    tried("losses of power" if lost else "killed trainings", len(numbers), f"{line}, all ended bit-identical")


def test_killed_while_fresh_puts_a_run_aside(calm: Calm, tmp_path: Path, thorough: bool) -> None:
    """The command repeated trains it anew, and the old run lies whole in one folder."""
    files = {path.name: path.read_bytes() for path in calm.config.directory.iterdir() if path.name != ".lock"}
    until = 2 * len(files) + 4  # the new run has begun then
    numbers = range(1, until) if thorough else random.Random(2).sample(range(1, until), 2)
    for number in numbers:
        config = replace(copied(calm.config, tmp_path / str(number) / "runs"), fresh=True)
        process = training(config, tmp_path / "output", die_before=number)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        finishes_as(config, calm.outcome)
        aside = {path.parent for path in (tmp_path / str(number) / "runs-replaced").rglob("config.yaml")}
        assert files in [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in aside]
    line = f"fresh=true killed at {len(numbers)} places: the old run whole, the new one bit-identical"
    tried("killed trainings", len(numbers), line)


@SIGNALS
def test_signals_at_random_moments(calm: Calm, tmp_path: Path, thorough: bool, number: signal.Signals) -> None:
    wanted, saved, output = (12 if thorough else 1), 0, tmp_path / "output"
    for attempt in range(wanted):
        config = at_runs(calm.config, tmp_path / str(attempt))
        run = Run(config.directory)
        process = command("train", *SHORT, f"runs={config.runs}", output=output)
        wait_for(run.history_file, process)
        time.sleep(calm.seconds * (attempt + random.Random(attempt).random()) / wanted / 2)
        state = run.record().state
        with suppress(ProcessLookupError):
            os.kill(process.pid or 0, number)
        process.join()
        assert "Traceback" not in output.read_text()
        if process.exitcode == 128 + number:
            saved += run.record().state == INTERRUPTED
            assert run.record().state in (state, INTERRUPTED, FINISHED)
        else:  # before the loop, or after its end
            assert process.exitcode in (0, -number)
        finishes_as(config, calm.outcome)
    line = f"{number.name}: {wanted} sent, {saved} times the run was saved and left, all ended bit-identical"
    tried("signals", wanted, line)


@SIGNALS
def test_a_second_signal_ends_the_process_at_once(disturbed: Config, tmp_path: Path, number: signal.Signals) -> None:
    output = tmp_path / "output"
    process = training(disturbed, output, hang=True)
    while "hangs" not in (output.read_text() if output.exists() else ""):
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, number)
    time.sleep(0.2)
    assert process.is_alive(), "the first signal waits for the iteration to end, and saves"
    os.kill(process.pid, number)
    process.join(10)
    assert process.exitcode == 128 + number
    tried("signals", 2, f"{number.name} twice: left at once with status {128 + number}")

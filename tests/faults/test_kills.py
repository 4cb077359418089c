"""A run that is killed at any moment goes on to the bytes of the undisturbed one."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import TINY
from faulty import Outcome, at_runs, command, finishes_as, outcome, stuck, training, wait_for

from resexp.config.compose import compose
from resexp.config.settings import Config
from resexp.storage.run import FINISHED, INTERRUPTED, Run

SHORT = (*TINY, "checkpoint_seconds=0", "recipe.evaluate_every=2")
"""Checkpoints after every iteration, evaluations after every second: most of the time something is being written."""


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run that ends undisturbed, in another process: this one's random state and threads play no part."""
    return compose(*SHORT, f"runs={tmp_path_factory.mktemp('undisturbed')}")


@pytest.fixture(scope="module")
def known(short: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, int, float]:
    """What the undisturbed run ends as, how many file operations it takes, and how many seconds."""
    said = tmp_path_factory.mktemp("said") / "said"
    process = training(short, said)
    began = wait_for(Run(short.directory).lock_file, process)
    process.join()
    seconds = time.monotonic() - began
    assert process.exitcode == 0, said.read_text()
    return outcome(short), int(said.read_text().splitlines()[-1]), seconds


def test_killed_at_random_moments(
    short: Config, known: tuple[Outcome, int, float], tmp_path: Path, thorough: bool
) -> None:
    undisturbed, _, seconds = known
    chance = random.Random(0)
    wanted, kills, writing, attempts = (25 if thorough else 2), 0, 0, 0
    while kills < wanted:
        config = at_runs(short, tmp_path / str(attempts))
        attempts += 1
        process = training(config, tmp_path / "said")
        began = wait_for(Run(config.directory).lock_file, process)
        process.join(seconds * (kills + chance.random()) / wanted)  # over the whole duration, the end included
        process.kill()
        process.join()
        if process.exitcode == 0:  # ended before its moment came: runs are quicker now than the undisturbed one was
            seconds = min(seconds, time.monotonic() - began)
            continue
        assert process.exitcode == -signal.SIGKILL
        kills += 1
        writing += any(path.name.startswith(".tmp-") for path in config.directory.iterdir())
        finishes_as(config, undisturbed)
    print(f"SIGKILL at random moments: {kills} kills, {writing} with a file half written, all ended bit-identical")


def test_killed_before_any_file_operation(
    short: Config, known: tuple[Outcome, int, float], tmp_path: Path, thorough: bool
) -> None:
    undisturbed, operations, _ = known
    chosen = random.Random(1).sample(range(1, operations + 1), 25 if thorough else 3)
    writing = 0
    for number in chosen:
        config = at_runs(short, tmp_path / str(number))
        process = training(config, tmp_path / "said", die_before=number)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        writing += any(path.name.startswith(".tmp-") for path in config.directory.iterdir())
        finishes_as(config, undisturbed)
    counted = f"{len(chosen)} of the {operations} places between file operations"
    print(f"SIGKILL at {counted}: {writing} with a temporary file, all ended bit-identical")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_at_random_moments(
    known: tuple[Outcome, int, float], short: Config, tmp_path: Path, thorough: bool, number: signal.Signals
) -> None:
    undisturbed, _, seconds = known
    wanted = 12 if thorough else 1
    saved = 0
    for attempt in range(wanted):
        config = at_runs(short, tmp_path / str(attempt))
        process = command("train", *SHORT, f"runs={tmp_path / str(attempt)}", said=tmp_path / "said")
        wait_for(Run(config.directory).history_file, process)
        time.sleep(seconds * (attempt + random.Random(attempt).random()) / wanted / 2)
        state = Run(config.directory).record().state
        with suppress(ProcessLookupError):
            os.kill(process.pid or 0, number)
        process.join()
        said = (tmp_path / "said").read_text()
        assert "Traceback" not in said
        if process.exitcode == 128 + number:
            after = Run(config.directory).record()
            saved += after.state == INTERRUPTED
            assert after.state in (state, INTERRUPTED, FINISHED)
        else:  # before the loop, or behind its end
            assert process.exitcode in (0, -number)
        finishes_as(config, undisturbed)
    print(f"{number.name}: {wanted} sent, {saved} times the run saved and left, all ended bit-identical")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(short: Config, tmp_path: Path, number: signal.Signals) -> None:
    said = tmp_path / "said"
    process = stuck(at_runs(short, tmp_path), said)
    while "hangs" not in (said.read_text() if said.exists() else ""):
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, number)
    time.sleep(0.2)
    assert process.is_alive(), "the first signal waits for the iteration to end, and saves"
    os.kill(process.pid, number)
    process.join(10)
    assert process.exitcode == 128 + number
    print(f"{number.name} twice: left at once with status {128 + number}")

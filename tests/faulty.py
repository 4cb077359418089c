"""Runs that are disturbed: in processes of their own that can be killed, and what must have become of them."""

import hashlib
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tqdm import tqdm

from resexp import cli
from resexp.config.settings import Config
from resexp.errors import Interrupted, UserError
from resexp.storage import checkpoint
from resexp.storage.run import FINISHED, Run
from resexp.training.train import train
from resexp.training.trainer import Trainer

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["__main__", "resexp.training.train", "resexp.sweep.sweeper", "resexp.commands.train"])

Outcome = tuple[bytes, str]


def weights(run: Run) -> str:
    """A digest of everything that training has changed."""
    state = checkpoint.load(run.checkpoint_file)
    sha = hashlib.sha256()
    for tensor in [*state["network"].values(), *state["momentum"]]:
        sha.update(tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()


def outcome(config: Config) -> Outcome:
    """What must be equal, bit for bit: the curve, and weights and momentum."""
    run = Run(config.directory)
    return run.history_file.read_bytes(), weights(run)


def at_runs(config: Config, runs: Path) -> Config:
    """The same run in another folder of runs."""
    directory = runs / config.directory.relative_to(config.runs)
    return replace(config, runs=str(runs), directory=directory)


def points(directory: Path, tag: str) -> list[tuple[int, float]]:
    """What TensorBoard shows of a run."""
    events = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def finishes_as(config: Config, undisturbed: Outcome) -> None:
    """Go on with a disturbed run: it must end as the undisturbed one, with nothing left over and no point twice."""
    run = Run(config.directory)
    record = train(config)
    assert record.state == FINISHED
    assert outcome(config) == undisturbed
    assert not [path.name for path in run.directory.iterdir() if path.name.startswith(".tmp-")]
    assert [step for step, _ in points(run.directory, "error/train")] == [row.iteration for row in run.rows(record)]


def caught(config: Config) -> str:
    """Train a run; the line that is said where it cannot go on."""
    try:
        train(config)
    except UserError as error:
        return str(error)
    return ""


def interrupt(config: Config, iteration: int, number: int = signal.SIGTERM) -> int:
    """Train a run in this process until a signal stops it behind an iteration; the status that it leaves with."""
    advance = Trainer.advance

    def advance_and_signal(self: Trainer) -> None:
        advance(self)
        if self.iteration == iteration:
            os.kill(os.getpid(), number)

    Trainer.advance = advance_and_signal
    try:
        with pytest.raises(Interrupted) as stopped:
            train(config)
    finally:
        Trainer.advance = advance
    return stopped.value.status


def command(*arguments: str, said: Path) -> BaseProcess:
    """Start `resexp ARGUMENTS` in a process of its own, whose imports are done already; it writes to `said`."""
    return _start(_command, arguments, said)


def training(config: Config, said: Path, die_before: int = 0) -> BaseProcess:
    """Start training in a process of its own. It kills itself before its n-th file operation, and counts them all."""
    return _start(_train, config, said, die_before)


def stuck(config: Config, said: Path) -> BaseProcess:
    """Start training that hangs in its first iteration, and says so."""
    return _start(_hang, config, said)


def _start(target: Any, *arguments: Any) -> BaseProcess:
    process = FORKS.Process(target=target, args=arguments)
    process.start()
    return process


def _write_to(said: Path) -> None:
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    tqdm.set_lock(threading.RLock())  # its own is shared between processes, and outlives one that is killed


def _command(arguments: tuple[str, ...], said: Path) -> None:
    _write_to(said)
    sys.argv = ["resexp", *arguments]
    try:
        cli.main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # else multiprocessing, tidying up, makes it a status of 1


def _train(config: Config, said: Path, die_before: int) -> None:
    _write_to(said)
    folder, operations = str(config.directory), 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal operations
        if event in ("open", "os.rename", "os.remove", "os.truncate") and str(arguments[0]).startswith(folder):
            operations += 1
            if operations == die_before:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    train(config)
    print(operations)


def _hang(config: Config, said: Path) -> None:
    _write_to(said)

    def hang(self: Trainer) -> None:
        print("hangs", flush=True)
        time.sleep(60)

    Trainer.advance = hang
    train(config)


def wait_for(path: Path, process: BaseProcess) -> float:
    """Wait until a file is there, or the process has ended; the time."""
    while process.is_alive() and not path.exists():
        time.sleep(0.001)
    return time.monotonic()


def copied(config: Config, runs: Path) -> Config:
    """A copy of a run in another folder of runs."""
    copy = at_runs(config, runs)
    shutil.rmtree(runs, ignore_errors=True)
    shutil.copytree(config.directory, copy.directory)
    return copy

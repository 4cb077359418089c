"""Runs that are disturbed, in this process or in one that can be killed, and what must become of them."""

import hashlib
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tqdm import tqdm

from resexp import cli
from resexp.config.compose import compose
from resexp.config.settings import Config
from resexp.errors import Interrupted, UserError
from resexp.storage import checkpoint
from resexp.storage.run import FINISHED, Run
from resexp.training.train import train
from resexp.training.trainer import Trainer

SHORT = (*TINY, "checkpoint_seconds=0", "recipe.evaluate_every=2")
"""Checkpoints after every iteration, evaluations after every second: most of the time something is being written."""

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        *("__main__", "resexp.training.train", "resexp.sweep.sweeper", "resexp.commands.train"),
        *("resexp.commands.report", "resexp.report.draw", "matplotlib.figure"),
        *("resexp.commands.collect", "resexp.commands.export", "resexp.commands.diagnose", "resexp.diagnose.setup"),
    ]
)

CHANGES = ("os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir")
"""Audited events that change files, beside opening one to write."""

Outcome = tuple[bytes, str]

CASES: Counter[str] = Counter()
"""What was tried so far, by kind."""


def tried(kind: str, cases: int, line: str) -> None:
    """Count cases of a kind that all ended as they should, and print a line about them."""
    CASES[kind] += cases
    print(line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """At full length, the counts at the end."""
    if config.getoption("--thorough"):
        counts = ", ".join(f"{count:,} {kind}" for kind, count in CASES.items())
        terminalreporter.write_line(f"tried: {counts}; {CASES.total():,} cases in all")


@dataclass
class Calm:
    """A run that ended undisturbed: how, and what that took."""

    config: Config
    outcome: Outcome
    operations: int
    """That changed its files."""
    seconds: float


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:
    """A run in another process: this one's random state and threads play no part."""
    folder = tmp_path_factory.mktemp("calm")
    config, output = compose(*SHORT, f"runs={folder / 'runs'}"), folder / "output"
    process = training(config, output)
    began = wait_for(Run(config.directory).lock_file, process)
    process.join()
    seconds = time.monotonic() - began
    assert process.exitcode == 0, output.read_text()
    return Calm(config, outcome(config), int(output.read_text().splitlines()[-1]), seconds)


@pytest.fixture
def disturbed(calm: Calm, runs: Path) -> Config:
    """The same run in another folder, not yet begun."""
    return at_runs(calm.config, runs)


def outcome(config: Config) -> Outcome:
    """What must be equal, bit for bit: the curve, and weights and momentum, which a digest stands for."""
    run, sha = Run(config.directory), hashlib.sha256()
    state = checkpoint.load(run.checkpoint_file)
    for tensor in [*state["network"].values(), *state["momentum"]]:
        sha.update(tensor.contiguous().numpy().tobytes())
    return run.history_file.read_bytes(), sha.hexdigest()


def at_runs(config: Config, runs: Path) -> Config:
    """The same run in another folder of runs."""
    directory = runs / config.directory.relative_to(config.runs)
    return replace(config, runs=str(runs), directory=directory)


def copied(config: Config, runs: Path) -> Config:
    """A copy of a run in another folder of runs."""
    copy = at_runs(config, runs)
    shutil.rmtree(runs, ignore_errors=True)
    shutil.copytree(config.directory, copy.directory)
    return copy


def points(directory: Path, tag: str) -> list[tuple[int, float]]:
    """What TensorBoard shows of a run."""
    events = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def finishes_as(config: Config, undisturbed: Outcome) -> None:
    """Resume a disturbed run: it must end as the undisturbed one, with nothing left over and no point twice."""
    run = Run(config.directory)
    record = train(config)
    assert record.state == FINISHED
    assert outcome(config) == undisturbed
    assert not [path.name for path in run.directory.iterdir() if path.name.startswith(".tmp-")]
    assert [step for step, _ in points(run.directory, "error/train")] == [row.iteration for row in run.rows(record)]


def refusal(config: Config) -> str:
    """Train a run; the one line that the user reads where that cannot be, or nothing."""
    try:
        train(config)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return str(error)
    return ""


@contextmanager
def after(iteration: int, act: Callable[[Trainer], object]) -> Generator[None, None, None]:
    """Inside the block, do this to a trainer as soon as it has done an iteration."""
    advance = Trainer.advance

    def advance_and_act(self: Trainer) -> None:
        advance(self)
        if self.iteration == iteration:
            act(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trainer, "advance", advance_and_act)
        yield


def interrupt(config: Config, iteration: int, number: int = signal.SIGTERM) -> int:
    """Train a run in this process until a signal stops it after an iteration; the status that it leaves with."""
    with after(iteration, lambda _: os.kill(os.getpid(), number)), pytest.raises(Interrupted) as stopped:
        train(config)
    return stopped.value.status


@contextmanager
def mounted(place: Path, *mounts: str) -> Generator[None, None, None]:
    """Mount what these arguments say at a place while the block lasts; skip the test where that is not allowed."""
    for arguments in mounts:
        if subprocess.run(["mount", *arguments.split(), str(place)], capture_output=True, check=False).returncode:
            pytest.skip(f"mount {arguments} is not allowed here")
    yield
    subprocess.run(["umount", str(place)], check=True)


def command(*arguments: str, output: Path, folder: Path | None = None, die_before: int = 0) -> BaseProcess:
    """Start `resexp ARGUMENTS` in a process of its own, whose imports are done already; it writes to `output`.

    It kills itself before the n-th operation that changes a file in a folder, and counts them all if there is one.
    """
    return _start(_command, arguments, output, folder, die_before)


def training(
    config: Config, output: Path, die_before: int = 0, hang: bool = False, disk: "Disk | None" = None
) -> BaseProcess:
    """Start training in a process of its own. It kills itself before its n-th change of a file, and counts them all.

    One that is to hang does so in its first iteration, and prints that. With a disk, power is lost when it is killed.
    """
    return _start(_train, config, output, die_before, hang, disk)


def _start(target: Any, *arguments: Any) -> BaseProcess:
    process = FORKS.Process(target=target, args=arguments)
    process.start()
    return process


def _write_to(output: Path) -> None:
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    tqdm.set_lock(threading.RLock())  # its own is shared between processes, and outlives one that is killed


@dataclass
class Disk:
    """What outlasts a loss of power: of each file what it held at its last fsync, and with `names` of each folder which
    files it held at its own. Without `names` all names outlast it, and files that were never synced are empty."""

    kept: Path
    """A folder elsewhere on the same disk, for links to what was synced."""
    names: bool
    sizes: dict[int, int] = field(default_factory=dict[int, int])
    """By inode; a link keeps each from being used again."""
    held: dict[Path, dict[str, Path]] = field(default_factory=dict[Path, dict[str, Path]])

    def watch(self) -> None:
        """From now on, note what is synced."""
        self.kept.mkdir(parents=True)
        os.fsync = self._synced

    def _synced(self, descriptor: int) -> None:
        path, status = Path(f"/proc/self/fd/{descriptor}").readlink(), os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            self.held[path] = {file.name: self._link(file) for file in path.iterdir() if file.is_file()}
        else:
            self.sizes[status.st_ino] = status.st_size
            self._link(path)

    def _link(self, file: Path) -> Path:
        link = self.kept / str(file.stat().st_ino)
        if not link.exists():
            link.hardlink_to(file)
        return link

    def lose(self, folder: Path) -> None:
        """Leave of a folder what outlasts it."""
        files = [path for path in folder.rglob("*") if path.is_file()]
        if self.names:
            for path in files:
                path.unlink()
            files = [place / name for place, names in self.held.items() for name in names]
            for path in files:
                path.hardlink_to(self.held[path.parent][path.name])
        for path in files:
            os.truncate(path, min(path.stat().st_size, self.sizes.get(path.stat().st_ino, 0)))


def _dying(folder: Path, before: int, disk: Disk | None = None) -> Callable[[], int]:
    """Kill this process before its n-th change of a file below a folder; how many there have been so far."""
    if disk:
        disk.watch()
    changes = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal changes
        written = event == "open" and arguments[2] & (os.O_ACCMODE | os.O_CREAT)
        if (written or event in CHANGES) and str(arguments[0]).startswith(str(folder)):
            changes += 1
            if changes == before:
                if disk:
                    disk.lose(folder)
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    return lambda: changes


def _command(arguments: tuple[str, ...], output: Path, folder: Path | None, die_before: int) -> None:
    _write_to(output)
    sys.argv = ["resexp", *arguments]
    changes = _dying(folder, die_before) if folder else None
    try:
        cli.main()
    finally:
        if changes:
            print(changes())
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # else multiprocessing, tidying up, makes it a status of 1


def _train(config: Config, output: Path, die_before: int, hang: bool, disk: Disk | None) -> None:
    _write_to(output)

    def sleep(self: Trainer) -> None:
        print("hangs", flush=True)
        time.sleep(60)

    if hang:
        Trainer.advance = sleep
    changes = _dying(config.directory, die_before, disk)
    train(config)
    print(changes())


def wait_for(path: Path, process: BaseProcess) -> float:
    """Wait until a file is there, or the process has ended; the time."""
    while process.is_alive() and not path.exists():
        time.sleep(0.001)
    return time.monotonic()

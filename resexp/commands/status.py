"""`resexp status`: how far every run of a folder is, without torch."""

import json
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from omegaconf import DictConfig

from resexp.config.compose import settings_of
from resexp.errors import UserError
from resexp.formatting import ABSENT, aligned, duration
from resexp.storage import history, timing
from resexp.storage.run import FINISHED, RUNNING, Run, find_runs, no_runs

DIED, ELSEWHERE, DAMAGED = "died", "elsewhere", "damaged"
"""States that only a look from outside can tell: the process of a run is gone; another host's may live; unreadable."""


@dataclass
class StatusSettings:
    """Root of `resexp status`."""

    runs: str
    json: bool


@dataclass(frozen=True)
class Status:
    """One run as it stands. Errors are fractions, times seconds; None where nothing was measured."""

    run: str
    state: str
    iteration: int = 0
    iterations: int = 0
    train_error: float | None = None
    test_error: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    seconds_since_row: float | None = None
    problem: str | None = None

    def cells(self) -> list[str]:
        """The run as a line of the table."""
        errors = [
            f"{100 * error:.2f}%" if error is not None else ABSENT for error in (self.train_error, self.test_error)
        ]
        times = [duration(one) if one is not None else ABSENT for one in (self.seconds_left, self.seconds_since_row)]
        speed = f"{self.images_per_second:,.0f}" if self.images_per_second is not None else ABSENT
        return [self.run, self.state, f"{self.iteration:,} of {self.iterations:,}", *errors, speed, *times]


HEADING = ["run", "state", "iteration", "training error", "test error", "images/s", "time left", "last row"]


def status(run: Run, folder: Path) -> Status:
    """One run of a folder, read from its files alone."""
    name = run.directory.relative_to(folder).as_posix()
    try:
        iterations = run.config()["result"]["recipe"]["iterations"]
        record = run.record()
        rows = run.rows(record)
    except (UserError, OSError, TypeError, KeyError) as error:
        return Status(name, DAMAGED, problem=" ".join(str(error).split()))
    state = record.state
    if state == RUNNING and not run.in_use():
        state = DIED if record.process.get("host") == socket.gethostname() else ELSEWHERE
    lines = timing.read(run.timing_file)[-timing.RECENT :]
    at = max(record.iteration, lines[-1].iteration if lines else 0)
    per_iteration = (
        (lines[-1].seconds - lines[0].seconds) / (lines[-1].iteration - lines[0].iteration) if lines[1:] else None
    )
    return Status(
        name,
        state,
        at,
        iterations,
        history.running_error(rows, iterations) if state == FINISHED else rows[-1].train_error if rows else None,
        next((row.test_error for row in reversed(rows) if row.test_error is not None), None),
        lines[-1].images_per_second if lines else None,
        per_iteration * (iterations - at) if per_iteration is not None and at < iterations else None,
        max(time.time() - run.timing_file.stat().st_mtime, 0.0) if lines else None,
        record.error,
    )


def table(found: list[Status]) -> str:
    """One line a run, and below it what is wrong with some."""
    told = aligned([HEADING, *(one.cells() for one in found)], {0, 1})
    return "\n".join([told] + [f"{one.run}: {one.problem}" for one in found if one.problem])


def task(cfg: DictConfig) -> None:
    """Print the state of every run below a folder. Raises UserError where there is none."""
    settings = settings_of(cfg, StatusSettings)
    folder = Path(settings.runs)
    found = [status(run, folder) for run in find_runs(folder)]
    if settings.json:
        print(json.dumps([asdict(one) for one in found], indent=1))
    elif not found:
        raise no_runs(folder)
    else:
        print(table(found))

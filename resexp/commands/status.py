"""`resexp status`: how far every run of a folder is, without torch."""

import socket
import time
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from resexp.config.compose import settings_of
from resexp.config.settings import recorded
from resexp.errors import UserError
from resexp.formatting import ABSENT, WIDTH, aligned, duration, plural, printable, told_apart
from resexp.printing import printing
from resexp.storage import timing
from resexp.storage.run import FINISHED, RUNNING, Record, Run, find_runs, no_runs

DIED, ELSEWHERE, DAMAGED = "died", "elsewhere", "damaged"
"""States that no run records: its process is gone; it may run on another host; its files cannot be read."""

HEADING = ["run", "state", "iteration", "training", "test", "images/s", "left", "age"]


@dataclass
class StatusSettings:
    """Root of `resexp status`."""

    runs: str
    json: bool


@dataclass(frozen=True)
class Status:
    """The progress of one run. Errors are fractions, times seconds; None where nothing was measured."""

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
        errors = [ABSENT if error is None else f"{100 * error:.2f}%" for error in (self.train_error, self.test_error)]
        speed = ABSENT if self.images_per_second is None else f"{self.images_per_second:,.0f}"
        times = [ABSENT if time is None else duration(time) for time in (self.seconds_left, self.seconds_since_row)]
        return [self.run, self.state, f"{self.iteration:,} of {self.iterations:,}", *errors, speed, *times]


def status(run: Run, folder: Path) -> Status:
    """One run of a folder, read from its files alone."""
    name = printable(run.directory.relative_to(folder).as_posix())
    try:
        content, record = run.read()
        iterations = recorded(content["result"], content["execution"]).recipe.iterations
        train_error, test_error = _errors(run, record)
    except (UserError, OSError) as error:
        return Status(name, DAMAGED, problem=" ".join(printable(str(error)).split()))
    state = record.state
    if state == RUNNING and not run.in_use():
        state = DIED if record.process.get("host") == socket.gethostname() else ELSEWHERE
    lines = timing.read(run.timing_file)[-timing.RECENT :]
    first, last = (lines[0], lines[-1]) if lines else (None, None)
    at = max(record.iteration, last.iteration if last else 0)
    left = None
    if first and last and first is not last and at < iterations:
        left = (iterations - at) * (last.seconds - first.seconds) / (last.iteration - first.iteration)
    return Status(
        name,
        state,
        at,
        iterations,
        train_error,
        test_error,
        last.images_per_second if last else None,
        left,
        max(time.time() - run.timing_file.stat().st_mtime, 0.0) if last else None,
        record.error,
    )


def _errors(run: Run, record: Record) -> tuple[float | None, float | None]:
    """Training and test error: at the end of a finished run, whose curve is only checked then, else so far."""
    if record.state == FINISHED:
        run.curve(record)
        return record.final.get("running_error"), record.final.get("test_error")
    rows = run.rows(record)
    tested = (row.test_error for row in reversed(rows) if row.test_error is not None)
    return (rows[-1].train_error if rows else None), next(tested, None)


def table(runs: list[Status]) -> str:
    """A line a run; where that is too wide, a line for each folder and below it one for each run in it."""
    lines = [HEADING, *(run.cells() for run in runs)]
    text = aligned(lines, {0, 1})
    if max(map(len, text.splitlines())) <= WIDTH:
        return text
    named = [line[0].rpartition("/") for line in lines]
    inside = [
        ["  " + name if folder else name, *line[1:]] for (folder, _, name), line in zip(named, lines, strict=True)
    ]
    folders = [folder for folder, _, _ in named]
    shown = told_apart(folders, WIDTH)
    rows: list[str] = []
    for at, row in enumerate(aligned(inside, {0, 1}).splitlines()):
        rows += [shown[at]] if at and folders[at] not in ("", folders[at - 1]) else []
        rows.append(row)
    return "\n".join(rows)


def task(cfg: DictConfig) -> None:
    """Print the state of every run below a folder. Raises UserError where there is none, or one is damaged."""
    settings = settings_of(cfg, StatusSettings)
    folder = Path(settings.runs)
    runs = [status(run, folder) for run in find_runs(folder)]
    if not runs and not settings.json:
        raise no_runs(folder)
    problems = [f"{run.run}: {run.problem}" for run in runs if run.problem]
    with printing(settings.json) as show:
        show("\n".join([table(runs), *problems]), *runs)
    damaged = sum(run.state == DAMAGED for run in runs)
    if damaged:
        raise UserError(f"{damaged} of {plural(len(runs), 'run')} damaged")

"""How long a run took: what timing.csv holds. Apart from the curve, so that curves can be compared byte for byte."""

import time
from pathlib import Path
from typing import NamedTuple

from resexp.storage.run import Run
from resexp.system.files import append_text, write_text

HEADING = "iteration,seconds,images_per_second\n"
RECENT = 10
"""The last lines, from which the time left is estimated."""


class Line(NamedTuple):
    """Seconds of work until a row's last iteration, evaluations included, and the row's speed, without them."""

    iteration: int
    seconds: float
    images_per_second: float

    def __str__(self) -> str:
        return f"{self.iteration},{self.seconds:.3f},{self.images_per_second:.1f}\n"


def read(path: Path) -> list[Line]:
    """The readable lines of a timing.csv, in rising order; none where there is no file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines: list[Line] = []
    for written in text.splitlines(keepends=True)[1:]:
        try:
            iteration, seconds, speed = written.split(",")
            line = Line(int(iteration), float(seconds), float(speed))
        except ValueError:
            continue
        if written.endswith("\n") and (not lines or line.iteration > lines[-1].iteration):
            lines.append(line)
    return lines


class Timing:
    """Writes timing.csv from an iteration on; lines of later iterations are dropped.

    A session opens with its start-up, which ends with the first iteration: data and engine are then ready, and
    what compiles, tunes or captures itself at first use has done so. It counts neither as work nor into a speed.
    """

    def __init__(self, run: Run, iteration: int, batch_size: int, began: float) -> None:
        self.file, self.batch_size = run.timing_file, batch_size
        kept = [line for line in read(self.file) if line.iteration <= iteration]
        self.speeds = {line.iteration: line.images_per_second for line in kept}
        self.before = kept[-1].seconds if kept else 0.0
        write_text(self.file, HEADING + "".join(map(str, kept)))
        self.began, self.seconds_startup, self.starting = began, 0.0, True
        self.start_row(iteration)

    @property
    def seconds(self) -> float:
        """Seconds of this session, without its start-up once that is over."""
        return time.monotonic() - self.began

    def end_startup(self, iteration: int) -> None:
        """The first iteration of this session has just been computed."""
        self.seconds_startup, self.starting = self.seconds, False
        self.began += self.seconds_startup
        self.start_row(iteration)

    def leave_out(self, seconds: float) -> None:
        """Time in which the row in progress was not trained."""
        self.row_began += seconds

    def start_row(self, iteration: int) -> None:
        """The next row begins after `iteration`."""
        self.row_began, self.row_iteration = time.monotonic(), iteration

    def end_row(self, iteration: int) -> None:
        """Write the line of a row whose last iteration has just been computed; none of one that was start-up alone."""
        images = (iteration - self.row_iteration) * self.batch_size
        if images:
            speed = images / max(time.monotonic() - self.row_began, 1e-9)
            self.speeds[iteration] = speed
            append_text(self.file, str(Line(iteration, self.before + self.seconds, speed)))

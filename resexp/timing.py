"""How long a run took: what timing.csv holds. Kept apart from the curve, which can so be compared byte for byte."""

import time
from contextlib import suppress

from resexp.files import write_text
from resexp.run import Run

HEADING = "iteration,seconds,images_per_second\n"


class Timing:
    """timing.csv: seconds of work so far and training speed of each row, evaluations and saving left out.

    A stretch of work opens with its start-up, which ends with the first iteration: data and engine are then ready, and
    what compiles, tunes or records itself at first use has done so. It counts neither as work nor into a speed.
    """

    def __init__(self, run: Run, iteration: int, batch_size: int, began: float) -> None:
        self.file, self.batch_size = run.timing_file, batch_size
        self.speeds: dict[int, float] = {}
        self.before = 0.0
        kept = [HEADING]
        with suppress(OSError):
            for line in self.file.read_text(errors="replace").splitlines(keepends=True)[1:]:
                with suppress(ValueError):
                    at, seconds, speed = (float(cell) for cell in line.split(","))
                    if at <= iteration and line.endswith("\n"):
                        self.speeds[int(at)] = speed
                        self.before = seconds
                        kept.append(line)
        write_text(self.file, "".join(kept))
        self.began, self.seconds_startup = began, 0.0
        self.starting = True
        self.start_row(iteration)

    @property
    def seconds(self) -> float:
        """Seconds of this stretch of work, without its start-up once that is over."""
        return time.monotonic() - self.began

    def end_startup(self, iteration: int) -> None:
        """The first iteration of this stretch has just been computed."""
        self.seconds_startup, self.starting = self.seconds, False
        self.began += self.seconds_startup
        self.start_row(iteration)

    def leave_out(self, seconds: float) -> None:
        """Time in which the row in progress was not trained."""
        self.row_began += seconds

    def start_row(self, iteration: int) -> None:
        """Training goes on behind `iteration`."""
        self.row_began, self.row_iteration = time.monotonic(), iteration

    def end_row(self, iteration: int) -> float | None:
        """Write the line of a row whose last iteration has just been computed; its images per second.

        A row that was start-up alone has none, and no line.
        """
        images = (iteration - self.row_iteration) * self.batch_size
        if not images:
            return None
        speed = images / max(time.monotonic() - self.row_began, 1e-9)
        self.speeds[iteration] = speed
        with self.file.open("a") as out:
            out.write(f"{iteration},{self.before + self.seconds:.3f},{speed:.1f}\n")
        return speed

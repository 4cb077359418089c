"""How long a run took: what timing.csv holds. Kept apart from the curve, which can so be compared byte for byte."""

import time
from contextlib import suppress

from resexp.files import append_text, write_text
from resexp.run import Run

HEADING = "iteration,seconds,images_per_second\n"


class Timing:
    """timing.csv: seconds of work so far and training speed of each row, evaluations and saving left out."""

    def __init__(self, run: Run, iteration: int, batch_size: int) -> None:
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
        self.began = time.monotonic()
        self.start_row(iteration)

    @property
    def seconds(self) -> float:
        """Seconds of this stretch of work."""
        return time.monotonic() - self.began

    def leave_out(self, seconds: float) -> None:
        """Time in which the row in progress was not trained."""
        self.row_began += seconds

    def start_row(self, iteration: int) -> None:
        """Training goes on behind `iteration`."""
        self.row_began, self.row_iteration = time.monotonic(), iteration

    def end_row(self, iteration: int) -> float:
        """Write the line of a row whose last iteration has just been computed; its images per second."""
        images = (iteration - self.row_iteration) * self.batch_size
        speed = images / max(time.monotonic() - self.row_began, 1e-9)
        self.speeds[iteration] = speed
        append_text(self.file, f"{iteration},{self.before + self.seconds:.3f},{speed:.1f}\n")
        return speed

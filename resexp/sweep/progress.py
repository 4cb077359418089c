"""One line for all runs of a sweep that are trained at once, from the files that they write."""

import logging
import statistics
import time
from contextlib import suppress
from threading import Event, Thread

from resexp.config.settings import Config
from resexp.formatting import duration
from resexp.storage import timing
from resexp.storage.run import Run
from resexp.sweep import plan
from resexp.system.logs import SECONDS_BETWEEN_LINES
from resexp.training.progress import no_bars, progress_bar

log = logging.getLogger("resexp")

SECONDS_BETWEEN_LOOKS = 2
BAR = "sweep: {left} left, {ended} of {runs} runs ended, {percent:.0f}% |{{bar}}|"


class Watched:
    """One of the runs: how far it is, how fast, and whether a process trains it."""

    def __init__(self, config: Config) -> None:
        self.config, self.run = config, Run(config.directory)
        self.cost, self.total = plan.cost(config), config.recipe.iterations
        self.at = 0
        self.speed: float | None = None
        """Iterations a second in this sweep, without the start-up."""
        self.active = self.ended = False

    def look(self, began: float) -> None:
        """Read how far it is. What a run that starts over had before the sweep `began` does not count."""
        if self.ended:
            return
        was, self.active = self.active, self.run.in_use()
        with suppress(OSError):
            new = self.run.timing_file.stat().st_mtime >= began
            if new or not self.config.fresh:
                lines = timing.read(self.run.timing_file)[-timing.RECENT :]
                self.at = lines[-1].iteration if lines else 0
                if new and len(lines) > 1 and lines[-1].seconds > lines[0].seconds:
                    self.speed = (lines[-1].iteration - lines[0].iteration) / (lines[-1].seconds - lines[0].seconds)
        self.ended = self.at >= self.total or (was and not self.active)
        self.active = self.active and not self.ended

    @property
    def left(self) -> float:
        """Multiply-adds that are still to do; of a run that has failed none."""
        return 0.0 if self.ended else self.cost * (self.total - self.at)


class SweepProgress:
    """A bar on a terminal, a line now and then elsewhere, while several runs are trained by others."""

    def __init__(self, configs: list[Config]) -> None:
        self.runs = [Watched(config) for config in configs]
        self.total = sum(run.cost * run.total for run in self.runs)
        self.began, self.at_once = time.time(), 0
        self.bar, self.no_bars = None, no_bars()  # asked now: launchers disable the bars of their runs
        self.over = Event()
        self.thread = Thread(target=self.watch, daemon=True)

    def look(self) -> None:
        """Read how far each run is."""
        for run in self.runs:
            run.look(self.began)
        self.at_once = max(self.at_once, sum(run.active for run in self.runs))

    @property
    def time_left(self) -> str:
        """Time until all have ended; unknown before the speed of one is."""
        speeds = [run.speed * run.cost for run in self.runs if run.speed]
        if not speeds:
            return "?"
        together = min(self.at_once, sum(not run.ended for run in self.runs)) or 1
        return duration(sum(run.left for run in self.runs) / (statistics.fmean(speeds) * together))

    def watch(self) -> None:
        """Tell how far all are, again and again, from when two are trained at once until the sweep is over."""
        last_line = time.monotonic()
        while not self.over.wait(SECONDS_BETWEEN_LOOKS):
            self.look()
            if self.at_once < 2:  # a run that is alone tells of itself
                continue
            left, ended = sum(run.left for run in self.runs), sum(run.ended for run in self.runs)
            done = self.total - left
            told = {"left": self.time_left, "ended": ended, "runs": len(self.runs), "percent": 100 * done / self.total}
            if self.bar is None:
                self.bar = progress_bar("sweep", self.total, done, BAR.format(**told), self.no_bars)
            if not self.bar.disable:
                self.bar.bar_format, self.bar.n = BAR.format(**told), done
                self.bar.refresh()
            elif told["left"] != "?" and time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                log.info("sweep: %s left, %d of %d runs ended", told["left"], ended, len(self.runs))

    def __enter__(self) -> "SweepProgress":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
        if self.bar is not None:
            self.bar.close()

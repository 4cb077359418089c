"""One line for all runs of a sweep that are trained at once, from the files that they write."""

import logging
import time
from contextlib import suppress
from threading import Event, Thread

from resexp.config.settings import Config
from resexp.formatting import duration
from resexp.storage import timing
from resexp.storage.run import Run
from resexp.sweep import plan
from resexp.system.logs import SECONDS_BETWEEN_LINES
from resexp.training.progress import progress_bar

log = logging.getLogger("resexp")

SECONDS_BETWEEN_LOOKS = 2
BAR = "sweep: {left} left, {done} of {runs} runs done, {percent:.0f}% |{{bar}}|"


class SweepProgress:
    """A bar on a terminal, a line now and then elsewhere, while other processes or threads train the runs."""

    def __init__(self, configs: list[Config]) -> None:
        self.configs = configs
        self.began, self.clock = time.time(), time.monotonic()
        self.costs = [plan.cost(config) for config in configs]
        self.at = [0] * len(configs)
        self.look()
        self.total = sum(cost * config.recipe.iterations for cost, config in zip(self.costs, configs, strict=True))
        self.before = self.work()
        self.bar = progress_bar("sweep", self.total, self.before, self.text)
        self.over = Event()
        self.thread = Thread(target=self.show, daemon=True)

    def look(self) -> None:
        """How far each run is, by its last row. What lies there of a run that starts over does not count."""
        for number, config in enumerate(self.configs):
            if self.at[number] < config.recipe.iterations:
                file = Run(config.directory).timing_file
                with suppress(OSError):
                    if not config.fresh or file.stat().st_mtime >= self.began:
                        lines = timing.read(file)
                        self.at[number] = lines[-1].iteration if lines else 0

    def work(self) -> float:
        """The multiply-adds that are done."""
        return sum(cost * at for cost, at in zip(self.costs, self.at, strict=True))

    @property
    def done(self) -> int:
        """Runs that have come to their end."""
        return sum(at >= config.recipe.iterations for at, config in zip(self.at, self.configs, strict=True))

    @property
    def left(self) -> str:
        """Time until all are done, at the speed so far; unknown before the first row."""
        now = self.work()
        elapsed = time.monotonic() - self.clock
        return duration(elapsed * (self.total - now) / (now - self.before)) if now > self.before else "?"

    @property
    def text(self) -> str:
        """The format of the bar."""
        return BAR.format(
            left=self.left, done=self.done, runs=len(self.configs), percent=100 * self.work() / self.total
        )

    def show(self) -> None:
        """Tell how far all are, again and again until the sweep is over."""
        every = SECONDS_BETWEEN_LINES if self.bar.disable else SECONDS_BETWEEN_LOOKS
        while not self.over.wait(every):
            self.look()
            if not self.bar.disable:
                self.bar.bar_format, self.bar.n = self.text, self.work()
                self.bar.refresh()
            elif self.left != "?":
                log.info("sweep: %s left, %d of %d runs done", self.left, self.done, len(self.configs))

    def __enter__(self) -> "SweepProgress":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
        self.bar.close()

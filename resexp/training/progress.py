"""What the user sees while a run trains: a bar on a terminal, a line now and then elsewhere."""

import logging
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from resexp.formatting import duration, shortened
from resexp.storage.history import Row
from resexp.system.logs import SECONDS_BETWEEN_LINES

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger("resexp")

IN_NOTEBOOK = "ipykernel" in sys.modules
"""Whose cells show a bar although they are no terminal."""
NAME_WIDTH = 20
"""Characters of a run's name and its place in a sweep in the bar, which fits into 80 columns then."""
BAR = "{{desc}}: {{remaining}} left{sweep}, {far}{{postfix}} |{{bar}}|"


def errors(train_error: float, test_error: float | None) -> str:
    """Errors in percent."""
    tested = "" if test_error is None else f", test error {test_error:.1%}"
    return f"training error {train_error:.1%}{tested}"


@dataclass(frozen=True)
class Position:
    """A run's place in its sweep: "2 of 4: ", and what the runs after it cost, as a multiple of its own cost."""

    label: str = ""
    cost_after: float = 0.0


def no_bars() -> bool:
    """Whether lines tell the progress: with $TQDM_DISABLE, and where there is neither a terminal nor a notebook."""
    return bool(os.environ.get("TQDM_DISABLE")) or not (IN_NOTEBOOK or sys.stderr.isatty())


def progress_bar(heading: str, total: float, start: float, bar_format: str, disable: bool) -> "tqdm[NoReturn]":
    """A bar on stderr, or one that is disabled."""
    from tqdm import tqdm  # only to train

    return tqdm(
        total=total,
        initial=start,
        desc=heading,
        disable=disable,
        file=sys.stderr,
        dynamic_ncols=True,
        leave=False,
        bar_format=bar_format,
    )


class Progress:
    """Progress of one run from iteration `start` to `total`."""

    def __init__(self, name: str, start: int, total: int, position: Position) -> None:
        self.name, self.start, self.total = position.label + name, start, total
        self.cost_after = position.cost_after
        self.began = self.last_line = time.monotonic()
        self.test_error: float | None = None
        place = position.label.replace(" of ", "/").replace(":", "")
        heading = place + shortened(name, NAME_WIDTH - len(place))
        self.far = "{percentage:.0f}%" if place else "{n_fmt}/{total_fmt}"
        self.bar = progress_bar(heading, total, start, BAR.format(sweep="", far=self.far), no_bars())

    def iteration(self) -> None:
        """One more iteration is done."""
        self.bar.update()

    def evaluating(self) -> None:
        """What follows is no training."""
        self.bar.set_postfix_str("evaluating")

    def row(self, row: Row) -> None:
        """A row was measured."""
        if row.test_error is not None:
            self.test_error = row.test_error
        now = time.monotonic()
        an_iteration = (now - self.began) / (row.iteration - self.start)
        left = an_iteration * (self.total - row.iteration)
        sweep = f", sweep {duration(left + an_iteration * self.total * self.cost_after)}" if self.cost_after else ""
        tested = "" if self.test_error is None else f", test {self.test_error:.1%}"
        self.bar.bar_format = BAR.format(sweep=sweep, far=self.far)
        self.bar.set_postfix_str(f"train {row.train_error:.1%}{tested}", refresh=False)
        if self.bar.disable and row.iteration < self.total and now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            done = f"{row.iteration:,} of {self.total:,} iterations, {errors(row.train_error, self.test_error)}"
            log.info("%s: %s left%s, %s", self.name, duration(left), sweep, done)

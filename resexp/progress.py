"""What a person sees while a run trains: a bar on a terminal, a line now and then elsewhere."""

import logging
import os
import sys
import time

from tqdm import tqdm

from resexp.history import Row

log = logging.getLogger("resexp")

SECONDS_BETWEEN_LINES = 30


def duration(seconds: float) -> str:
    """75.2 -> "1m15s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def figures(row: Row, test_error: float | None) -> str:
    """Errors of a row, in percent."""
    tested = "" if test_error is None else f", test error {test_error:.1%}"
    return f"training error {row.train_error:.1%}{tested}"


class Progress:
    """Progress of one run from iteration `start` to `total`."""

    def __init__(self, name: str, start: int, total: int) -> None:
        self.name, self.start, self.total = name, start, total
        self.began = self.last_line = time.monotonic()
        self.test_error: float | None = None
        self.bar = tqdm(
            total=total,
            initial=start,
            desc=name,
            unit="it",
            disable=bool(os.environ.get("TQDM_DISABLE")) or None,  # None: only on a terminal
            file=sys.stderr,
            dynamic_ncols=True,
            leave=False,
        )

    def iteration(self) -> None:
        """One more iteration is done."""
        self.bar.update()

    def row(self, row: Row) -> None:
        """A row was measured."""
        if row.test_error is not None:
            self.test_error = row.test_error
        shown = figures(row, self.test_error)
        self.bar.set_postfix_str(shown, refresh=False)
        now = time.monotonic()
        if self.bar.disable and row.iteration < self.total and now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            left = (now - self.began) / (row.iteration - self.start) * (self.total - row.iteration)
            log.info(
                "%s: %d of %d iterations, %s, %s left", self.name, row.iteration, self.total, shown, duration(left)
            )

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()

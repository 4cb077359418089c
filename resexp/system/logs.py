"""The log of a run, train.log: with tracebacks, for what the one line on the screen does not say."""

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

log = logging.getLogger("resexp")


class LogFile(logging.FileHandler):
    """A log without which a run goes on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say once that it cannot be written."""
        log.removeHandler(self)
        log.warning("cannot write %s (%s); going on without it", self.baseFilename, sys.exc_info()[1])


@contextmanager
def logging_to(path: Path) -> Generator[None, None, None]:
    """Write the log to a file as well. Raises OSError where it cannot be opened."""
    handler = LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.setLevel(logging.DEBUG)
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.removeHandler(handler)
        with suppress(OSError):  # what could not be written before is tried once more
            handler.close()

"""The log: one line a message on stderr, and in a run's train.log also the tracebacks."""

import logging
import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from resexp.formatting import printable
from resexp.system.machine import WORKER

log = logging.getLogger("resexp")

SECONDS_BETWEEN_LINES = 30
"""Between lines of progress, where there is no bar."""


class Console(logging.Handler):
    """Messages on stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        line = "\n".join(map(printable, self.format(record).splitlines()))
        if WORKER in os.environ and sys.stderr.isatty():
            line = f"\r\x1b[K{line}"  # over the bar of the process that this one works for
        with suppress(OSError):  # a closed terminal does not stop the work
            if "tqdm" in sys.modules:
                from tqdm import tqdm

                tqdm.write(line, file=sys.stderr)
            else:
                print(line, file=sys.stderr)


def log_to_console() -> None:
    """Show the messages of this process on stderr."""
    if not any(isinstance(handler, Console) for handler in log.handlers):
        log.addHandler(Console(logging.INFO))
        log.setLevel(logging.DEBUG)
        log.propagate = False


def set_console(job_logging: str) -> None:
    """Nothing on stderr with hydra/job_logging=disabled; a train.log is written nevertheless."""
    for handler in log.handlers:
        if isinstance(handler, Console):
            handler.setLevel(sys.maxsize if job_logging == "disabled" else logging.INFO)


class LogFile(logging.FileHandler):
    """A log of what one thread says, whose loss does not stop a run."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.setLevel(logging.DEBUG)
        thread = threading.get_ident()
        self.addFilter(lambda record: record.thread == thread)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Warn once that it cannot be written."""
        log.removeHandler(self)
        log.warning("cannot write %s (%s); going on without it", self.baseFilename, sys.exc_info()[1])


@contextmanager
def logging_to(path: Path) -> Generator[None, None, None]:
    """Write what this thread logs to a file as well. Raises OSError where it cannot be opened."""
    handler = LogFile(path)
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.removeHandler(handler)
        with suppress(OSError):  # closing writes what could not be written before
            handler.close()

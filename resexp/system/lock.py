"""Locks on open files. The kernel frees them when the process that holds them ends, in whatever way."""

import fcntl
import logging
import os
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TextIO

from resexp.errors import Busy

log = logging.getLogger("resexp")

TRIES, PAUSE = 5, 0.05
"""How often, and after how many seconds, `hold` tries: `is_held` in another process takes the lock for a moment."""


def acquire(file: int | TextIO, what: object, wait: bool = False) -> bool:
    """Lock a file for as long as it is open; False while another process holds the lock, unless told to `wait`.

    On a file system without locks there is a warning instead: a refusal would exclude clusters with such file systems.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        line = "%s: this file system has no locks (%s); make sure that no other process writes there"
        log.warning(line, what, error.strerror)
    return True


def hold(path: Path, what: object) -> TextIO:
    """Open and lock the file of a run, and make its folder; the lock lasts until the file is closed.

    Raises Busy while another process holds it, OSError where it cannot be made.
    """
    for _ in range(TRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not there: a process that had nothing to write has just removed what it made.
        with suppress(FileNotFoundError), ExitStack() as opened:
            file = opened.enter_context(path.open("a"))
            if acquire(file, what) and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                opened.pop_all()
                return file
        time.sleep(PAUSE)
    raise Busy(f"{what} is being trained by another process")


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock; False where that cannot be known."""
    try:
        with path.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False

"""The lock of a run's directory. It is the kernel's, and goes with the process that holds it, however that ends."""

import fcntl
import logging
import time
from pathlib import Path
from typing import TextIO

from resexp.errors import Busy

log = logging.getLogger("resexp")

TRIES, PAUSE = 5, 0.05
"""How often, and how many seconds apart, the lock is asked for: `is_held` in another process has it for a blink."""


def hold(file: TextIO, what: object) -> None:
    """Lock a file, for as long as it is open. Raises Busy while another process holds the lock.

    Where the file system gives no locks, a warning takes their place: refusing would bar clusters that mount so.
    """
    for _ in range(TRIES):
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PAUSE)
        except OSError as error:
            why = f"this file system gives no locks ({error.strerror})"
            return log.warning("%s: %s; make sure that no other process trains this run", what, why)
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

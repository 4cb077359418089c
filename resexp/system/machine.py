"""A process's share of the machine: its threads, and its number among those that share the GPUs. No torch here."""

import os
from itertools import count
from pathlib import Path

from resexp.system.lock import acquire

WORKER = "RESEXP_WORKER"
"""Environment variable with this process's number among the workers of a sweep."""


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads() -> int:
    """$OMP_NUM_THREADS where it is set (its first number, if it is a list), else all cores."""
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(threads) if threads.isdecimal() and int(threads) else cores()


def worker_number() -> int:
    """This process's number among the workers of a sweep; 0 where it is alone."""
    return int(os.environ.get(WORKER, "0"))


def claim_worker_number(folder: Path) -> None:
    """Take the lowest number that no living worker of this sweep has, until this process ends."""
    for number in count():
        lock = os.open(folder / f"worker{number}", os.O_CREAT | os.O_RDWR)  # never closed: the lock must last
        if acquire(lock, folder):
            os.environ[WORKER] = str(number)
            return
        os.close(lock)

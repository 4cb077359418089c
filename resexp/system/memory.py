"""Memory: how much there is, asked before any is taken, since too much hangs a machine; no collection of garbage."""

import gc
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from resexp.errors import UserError

MEMINFO = Path("/proc/meminfo")
LIMIT = Path("/sys/fs/cgroup/memory.max")
"""Of the container that this process is in, if it is in one."""


def available() -> int | None:
    """Bytes that can be taken, at most; None where that is not known."""
    known: list[int] = []
    with suppress(OSError, ValueError):
        known.append(int(LIMIT.read_text(encoding="ascii")))
    with suppress(OSError, ValueError, KeyError, IndexError):
        facts = dict(line.split(":", 1) for line in MEMINFO.read_text(encoding="ascii").splitlines())
        known.append(int(facts["MemAvailable"].split()[0]) * 1024)
    return min(known, default=None)


def require_memory(parts: dict[str, int]) -> None:
    """Check bytes that are needed at once; the settings that decide each part are its name.

    Raises UserError with the settings of the largest part where there are fewer.
    """
    there, needed = available(), sum(parts.values())
    if there is not None and needed > there:
        most = max(parts, key=lambda name: parts[name])
        raise UserError(f"this needs about {size(needed)} of memory, {size(there)} are there; lower {most}")


def size(count: float) -> str:
    """3812345678901 -> "3.8 TB"."""
    for unit in ("MB", "GB", "TB", "PB"):
        count /= 1000
        if unit == "MB":
            count /= 1000
        if count < 1000:
            break
    return f"{count:.1f} {unit}" if count < 1e6 else f"over 1,000 {unit}"


@contextmanager
def no_collection() -> Generator[None, None, None]:
    """Collect no garbage inside."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

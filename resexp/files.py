"""Writing files so that a reader finds the old content or the new, never half of it."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".tmp-"


def user_cache() -> Path:
    """The folder for what all runs share, `~` not yet expanded."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "resexp")


@contextmanager
def replacing(path: Path, previous: Path | None = None) -> Generator[BinaryIO, None, None]:
    """Open a temporary file beside `path` that takes its place on leaving; the old content moves to `previous`.

    Raises OSError (disk full, not writable); the old content is then still at `path`, or already at `previous`.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            path.replace(previous)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_text(path: Path, text: str) -> None:
    """`text` as the whole content of `path`."""
    with replacing(path) as file:
        file.write(text.encode())


def remove_temporaries(folder: Path) -> None:
    """Delete what a killed process left half written."""
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)

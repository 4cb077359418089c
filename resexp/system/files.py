"""Writing files so that a reader finds the old content or the new, never half of it."""

import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from resexp.errors import UserError

TEMPORARY = ".tmp-"


def user_cache() -> Path:
    """The folder for what all runs share, with its `~`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "resexp")


def digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of what a file holds, in hexadecimal. Raises OSError."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def naming(path: Path) -> Generator[None, None, None]:
    """Add the file's name to an OSError, which lacks it where writing fails, as on a full disk."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextmanager
def writing_to(setting: str) -> Generator[None, None, None]:
    """Turn an OSError into a UserError that names the file and the setting that chooses its folder."""
    try:
        yield
    except OSError as error:
        what = f"{error.filename or 'a file'} ({error.strerror or error})"
        raise UserError(f"{setting}: cannot write {what}; choose a folder with {setting}=PATH") from error


@contextmanager
def replacing(path: Path, previous: Path | None = None) -> Generator[BinaryIO, None, None]:
    """Open a temporary file that takes the place of `path` at the end; the old content moves to `previous`.

    Raises OSError (disk full, not writable); the old content is then still at `path`, or already at `previous`.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    try:
        with naming(path), temporary.open("wb") as file:
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
    """Replace the content of `path`. Raises OSError naming the file."""
    with replacing(path) as file:
        file.write(text.encode())


def append_text(path: Path, text: str) -> None:
    """Add to the end of `path`. Raises OSError naming the file, which may then hold a part of the text."""
    with naming(path), path.open("a", encoding="utf-8") as file:
        file.write(text)


def remove_temporaries(folder: Path) -> None:
    """Delete the unfinished files of a killed process."""
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)

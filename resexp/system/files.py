"""Writing files so that a reader finds the old content or the new, never half of it."""

import fcntl
import hashlib
import os
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from resexp.errors import UserError

SEAL = "# sha256: "
"""Begins the last line of a text, which is the digest of the others."""

TEMPORARY = ".tmp-"
SECONDS_ABANDONED = 3600
"""Since the last change of an unfinished file, after which nobody writes to it, where no lock can tell."""


def user_cache() -> Path:
    """The folder for what all runs share, with its `~`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "resexp")


def digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(text: str) -> str:
    """A text whose last line is the digest of the others."""
    return f"{text}{SEAL}{digest(text)}\n"


def unsealed(text: str) -> str:
    """A text without that line. Raises ValueError where it is not there, or is of another text."""
    content, seal, known = text.rpartition(SEAL)
    if not seal or digest(content) != known.strip():
        raise ValueError("its content does not match its digest")
    return content


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
def reading(place: Path) -> Generator[None, None, None]:
    """Turn an OSError while files are looked for or read into a UserError that names the file, or else the place."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{error.filename or place}: {error.strerror or error}") from error


def folders(top: Path) -> list[tuple[Path, set[str] | None]]:
    """A folder and all below it, each with the names of its files; None for one that cannot be looked into.

    Links to folders are followed; each folder is entered once, by a path without links if there is one. Of a link that
    leads nowhere nobody knows what it led to: it is listed as a folder that cannot be looked into.
    """
    found: list[tuple[Path, set[str] | None]] = []
    entered: set[tuple[int, int]] = set()
    due, links = [top], list[Path]()
    while due or links:
        place = due.pop() if due else links.pop(0)
        names: set[str] = set()
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_symlink() and not os.path.isfile(entry.path):  # noqa: PTH113  # Path raises where it may not look
                        links += [] if entry.name.startswith(".") else [place / entry.name]
                    elif entry.is_dir():
                        due.append(place / entry.name)
                    else:
                        names.add(entry.name)
        except (FileNotFoundError, NotADirectoryError):  # also what goes while it is looked for
            if place.is_symlink():
                found.append((place, None))
        except OSError:
            found.append((place, None))
        else:
            found.append((place, names))
    return found


def _open_temporary(path: Path) -> tuple[Path, BinaryIO]:
    """A file beside `path`, locked as long as it is open, by which others see that it is written to. Raises OSError.

    Of a name that nobody else writes to, and where no link can lie that leads to another file.
    """
    while True:
        temporary = path.with_name(f"{TEMPORARY}{path.name[:200]}-{token_hex(8)}")
        with naming(path), ExitStack() as opened:
            file = opened.enter_context(temporary.open("wb"))
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:  # not removed before it was locked
                opened.pop_all()
                return temporary, file


@contextmanager
def replacing(path: Path, previous: Path | None = None) -> Generator[BinaryIO, None, None]:
    """Open a temporary file that takes the place of `path` at the end; the old content moves to `previous`.

    Raises OSError (disk full, not writable); the old content is then still at `path`, or already at `previous`.
    """
    remove_abandoned(path)
    temporary, opened = _open_temporary(path)
    try:
        with naming(path), opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if previous is not None and path.exists():
                path.replace(previous)
            temporary.replace(path)  # while it is locked: else another writer could take it for abandoned
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until what was written to a file or folder, if it is there, outlasts a loss of power.

    Raises OSError naming it.
    """
    with naming(path), suppress(FileNotFoundError):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def write_text(path: Path, text: str) -> None:
    """Replace the content of `path`. Raises OSError naming the file."""
    with replacing(path) as file:
        file.write(text.encode())


def append_text(path: Path, text: str) -> None:
    """Add to the end of `path`. Raises OSError naming the file, which may then hold a part of the text."""
    with naming(path), path.open("a", encoding="utf-8") as file:
        file.write(text)


def remove_abandoned(path: Path) -> None:
    """Delete what processes that were killed have left of this file; the kernel has freed their locks."""
    own = f"{TEMPORARY}{path.name[:200]}"
    with suppress(OSError):
        path.with_name(own).unlink(missing_ok=True)  # of versions that wrote to one name
    for old in path.parent.glob(f"{escape(own)}-*"):
        with suppress(OSError):
            if time.time() - old.lstat().st_mtime > SECONDS_ABANDONED:
                old.unlink()
        with suppress(OSError), old.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            old.unlink()

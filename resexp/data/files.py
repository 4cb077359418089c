"""The official files of a data set: where they lie, fetched where they are missing, their MD5s. No torch here."""

import hashlib
import logging
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from resexp.config.settings import OfficialConfig, expand
from resexp.data.download import UnreachableError, download
from resexp.data.kinds import KINDS, Kind
from resexp.errors import UserError
from resexp.system.files import TEMPORARY, user_cache
from resexp.system.lock import acquire

log = logging.getLogger("resexp")

_ahead: dict[Path, "Future[tuple[bytes, str]]"] = {}
"""Files that are being read for someone who will ask for them."""


def there(config: OfficialConfig) -> tuple[Kind, Path]:
    """What the files are and the folder that holds theirs, where they lie when this returns.

    Raises UserError where they are absent and cannot be fetched.
    """
    kind, folder = KINDS[config.name], data_folder(config.dir)
    if kind.needs and find_spec(kind.needs) is None:
        raise UserError(f"data={kind.name}: needs {kind.needs}; in a checkout, pip install -e '.[{kind.name}]'")
    if not _complete(kind, folder / kind.folder):
        for name, other in KINDS.items():
            if _complete(other, folder / kind.folder):
                own = f"data={name} reads them from {other.folder}"
                raise UserError(f"{folder / kind.folder} holds the files of {other.title}; {own}")
        if not config.download:
            raise _absent(kind, folder, "data.download=false")
        try:
            _fetch(kind, folder, config.url)
        except OSError as error:
            raise _absent(kind, folder, f"cannot write to it: {error.strerror or error}") from error
    return kind, folder


def read_ahead(config: OfficialConfig) -> None:
    """Begin to read the files, if they are there, while something else is done, such as importing torch."""
    kind, folder = KINDS[config.name], data_folder(config.dir)
    if not _complete(kind, folder / kind.folder):
        return
    threads = ThreadPoolExecutor(1)  # the other core is busy
    for name in kind.files:
        path = folder / kind.folder / name
        _ahead[path] = threads.submit(_md5, path)
    threads.shutdown(wait=False)


def data_folder(setting: str | None) -> Path:
    """Where a data set's own folder lies: in data.dir, else in $RESEXP_DATA, else in resexp/ in the user's cache."""
    return expand("data.dir", setting or os.environ.get("RESEXP_DATA") or user_cache())


def _as_url(source: str) -> str:
    is_url = "://" in source or source.startswith("file:")
    return source if is_url else expand("data.url", source).absolute().as_uri()


def _md5(path: Path) -> tuple[bytes, str]:
    """A file's content and its MD5."""
    content = path.read_bytes()
    return content, hashlib.md5(content, usedforsecurity=False).hexdigest()


def _complete(kind: Kind, folder: Path) -> bool:
    return all(os.access(folder / name, os.F_OK) for name in kind.files)


def _absent(kind: Kind, folder: Path, why: str) -> UserError:
    place = "an archive with data.url=FILE-OR-URL" if kind.meta else "another place of them with data.url=FOLDER-OR-URL"
    return UserError(
        f"{kind.title} is not in {folder} ({why}); put {kind.folder} there, give another folder with "
        f"data.dir=PATH or {place}, or use data=shapes, which needs no download"
    )


def read(kind: Kind, folder: Path, name: str) -> bytes:
    """What a file holds. Raises UserError where it cannot be read or is not the official one."""
    path = folder / kind.folder / name
    try:
        ahead = _ahead.pop(path, None)
        content, actual = ahead.result() if ahead else _md5(path)
    except OSError as error:
        remedy = "give another folder with data.dir=PATH"
        raise UserError(f"{path} cannot be read ({error.strerror or error}); {remedy}") from error
    if actual != kind.files[name]:
        raise UserError(
            f"{path} is damaged (MD5 {actual}, expected {kind.files[name]}); delete it, so that the next run with "
            "data.download=true fetches it again, or give another folder with data.dir=PATH"
        )
    return content


def _fetch(kind: Kind, folder: Path, url: str | None) -> None:
    """Put the official files into `folder`, one process at a time; those that waited find them there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{kind.name}.lock").open("a") as lock:
        if not acquire(lock, folder):
            log.info("waiting for another process that is fetching %s into %s", kind.title, folder)
            acquire(lock, folder, wait=True)
        if _complete(kind, folder / kind.folder):
            return
        prefix = f"{TEMPORARY}{kind.name}-"
        for left_by_killed_process in folder.glob(f"{prefix}*"):
            shutil.rmtree(left_by_killed_process, ignore_errors=True)
        with TemporaryDirectory(prefix=prefix, dir=folder) as temporary:
            for name, source, md5 in kind.downloads(url and _as_url(url)):
                if name in kind.files and (folder / kind.folder / name).exists():
                    continue
                log.info("fetching %s from %s into %s", kind.title, source, folder)
                path = Path(temporary, name)
                with path.open("wb") as file:
                    try:
                        download(source, file)
                    except UnreachableError as error:
                        raise _absent(kind, folder, f"{source}: {error}") from error
                if (actual := _md5(path)[1]) != md5:
                    known = {of: other.title for other in KINDS.values() for _, _, of in other.downloads(None)}
                    whose = f", that of {known[actual]}" if actual in known else ""
                    raise _absent(kind, folder, f"{source} has MD5 {actual}{whose}, expected {md5}")
                kind.unpack(path, Path(temporary, kind.folder))
                (folder / kind.folder).mkdir(exist_ok=True)
                for part in Path(temporary, kind.folder).iterdir():
                    if part.name in kind.files:
                        part.replace(folder / kind.folder / part.name)

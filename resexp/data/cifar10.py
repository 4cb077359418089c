"""CIFAR-10 from its official files, fetched once where they are missing; torchvision's MD5s are enforced."""

import fcntl
import logging
import os
import shutil
import sys
import tarfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch
from torch import Tensor
from tqdm import tqdm

from resexp.config import Cifar10Config
from resexp.data import Dataset, Split
from resexp.errors import UserError
from resexp.files import TEMPORARY
from resexp.progress import SECONDS_BETWEEN_LINES
from resexp.seeds import stream

log = logging.getLogger("resexp")

BATCHES = "cifar-10-batches-py"
STALL = 15.0
"""Seconds without a byte after which a connection is given up. A slow server is not: it has been seen at 20 kB/s."""
PAUSES = (1.0, 3.0)
"""Seconds before each further try; a try that brought new bytes starts the count afresh."""
PATIENCE = 40.0
"""Seconds without a new byte after which no further try is made."""


def load(config: Cifar10Config) -> Dataset:
    """Read the official files, fetching them first where they are missing (see `data_folder`).

    Raises UserError where they are absent and cannot be fetched, or damaged.
    """
    from torchvision.datasets import CIFAR10  # takes seconds to import, which other data sets need not wait for

    folder = data_folder(config.dir)
    if not _complete(folder):
        if not config.download:
            raise _absent(folder, "data.download=false")
        _fetch(folder, _as_url(config.url or CIFAR10.url))
    try:
        parts = CIFAR10(folder), CIFAR10(folder, train=False)
    except (RuntimeError, OSError) as error:
        raise _damaged(folder, error) from error
    images = [torch.from_numpy(part.data.transpose(0, 3, 1, 2)) for part in parts]
    train, test = (Split(pixels, torch.tensor(part.targets)) for pixels, part in zip(images, parts, strict=True))
    validation = None
    if config.validation:
        kept, held_out = hold_out(train.labels, config.validation, config.seed)
        validation = Split(train.images[held_out], train.labels[held_out])
        train = Split(train.images[kept], train.labels[kept])
    return Dataset("cifar10", list(parts[0].classes), train, test, validation)


def hold_out(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rising indices (kept, held out): `count` are held out, as many of each class, drawn by `seed`."""
    order = torch.randperm(len(labels), generator=stream("validation", seed))
    classes = labels.unique()
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in classes:
        held_out[order[labels[order] == label][: count // len(classes)]] = True
    return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()


def data_folder(setting: str | None) -> Path:
    """The folder that holds cifar-10-batches-py: data.dir, else $RESEXP_DATA, else resexp/ in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "resexp")
    return _expand(setting or os.environ.get("RESEXP_DATA") or cache, "data.dir")


def _expand(path: str | Path, setting: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{setting}: {path} leads to no home folder; give a full path with {setting}=PATH") from error


def _md5s() -> dict[str, str]:
    from torchvision.datasets import CIFAR10

    return dict([*CIFAR10.train_list, *CIFAR10.test_list, [CIFAR10.meta["filename"], CIFAR10.meta["md5"]]])


def _complete(folder: Path) -> bool:
    try:
        return all((folder / BATCHES / name).is_file() for name in _md5s())
    except OSError:
        return False


def _absent(folder: Path, why: str) -> UserError:
    return UserError(
        f"CIFAR-10 is not in {folder} ({why}); put {BATCHES} there, give another folder with data.dir=PATH "
        "or an archive with data.url=FILE-OR-URL, or use data=shapes, which needs no download"
    )


def _damaged(folder: Path, error: Exception) -> UserError:
    from torchvision.datasets.utils import calculate_md5

    try:
        for name, expected in _md5s().items():
            path = folder / BATCHES / name
            if (found := calculate_md5(path)) != expected:
                return UserError(
                    f"{path} is damaged (MD5 {found}, expected {expected}); delete it, so that the next run with "
                    "data.download=true fetches it again, or give another folder with data.dir=PATH"
                )
    except OSError as unreadable:
        error = unreadable
    return UserError(f"CIFAR-10 in {folder} cannot be read ({error}); give another folder with data.dir=PATH")


def _as_url(source: str) -> str:
    is_url = "://" in source or source.startswith("file:")
    return source if is_url else _expand(source, "data.url").absolute().as_uri()


@contextmanager
def _writing_to(folder: Path) -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise _absent(folder, f"cannot write to it: {error.strerror or error}") from error


def _fetch(folder: Path, url: str) -> None:
    """Put the official files into `folder`, one process at a time; those that waited find them there."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import calculate_md5

    prefix = f"{TEMPORARY}cifar10-"
    with _writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".cifar10.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("waiting for another process that is fetching CIFAR-10 into %s", folder)
                fcntl.flock(lock, fcntl.LOCK_EX)
            if _complete(folder):
                return
            for left_by_killed_process in folder.glob(f"{prefix}*"):
                shutil.rmtree(left_by_killed_process, ignore_errors=True)
            with TemporaryDirectory(prefix=prefix, dir=folder) as temporary:
                archive = Path(temporary, "archive.tar.gz")
                with archive.open("wb") as file:
                    _download(url, file, folder)
                if (found := calculate_md5(archive)) != CIFAR10.tgz_md5:
                    raise _absent(folder, f"{url} has MD5 {found}, expected {CIFAR10.tgz_md5}")
                with tarfile.open(archive) as tar:
                    tar.extractall(temporary, filter="data")
                (folder / BATCHES).mkdir(exist_ok=True)
                for name in _md5s():
                    Path(temporary, BATCHES, name).replace(folder / BATCHES / name)


def _download(url: str, file: BinaryIO, folder: Path) -> None:
    """Copy what lies at `url` into `file`; a broken connection goes on where it broke if the server can do that."""
    log.info("fetching CIFAR-10 from %s into %s", url, folder)
    furthest, tries, last_heard = 0, 0, time.monotonic()
    while True:
        headers = {"User-Agent": "resexp"} | ({"Range": f"bytes={file.tell()}-"} if file.tell() else {})
        try:
            with urlopen(Request(url, headers=headers), timeout=STALL) as response:
                return _receive(response, file, folder)
        except (OSError, HTTPException, ValueError) as error:
            if file.tell() > furthest:
                furthest, tries, last_heard = file.tell(), 0, time.monotonic()
            refused = isinstance(error, HTTPError) and 400 <= error.code < 500 and error.code not in (408, 429)
            hopeless = refused or isinstance(error, ValueError) or url.startswith("file:")
            reason = error.reason if type(error) is URLError else error
            if hopeless or tries == len(PAUSES) or time.monotonic() - last_heard > PATIENCE:
                raise _absent(folder, f"{url}: {reason}") from error
            log.info("%s: %s; trying again", url, reason)
        time.sleep(PAUSES[tries])
        tries += 1


def _receive(response: Any, file: BinaryIO, folder: Path) -> None:
    if response.status != 206:
        file.seek(0)
        file.truncate()
    start, last_line = file.tell(), time.monotonic()
    length = response.headers["Content-Length"]
    total = start + int(length) if length else None
    bar = tqdm(total=total, initial=start, desc="CIFAR-10", unit="B", unit_scale=True, disable=None, file=sys.stderr)
    with bar:
        while chunk := response.read(1 << 14):
            with _writing_to(folder):
                file.write(chunk)
            bar.update(len(chunk))
            if bar.disable and time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                log.info("CIFAR-10: %.1f of %s MB", file.tell() / 1e6, f"{total / 1e6:.1f}" if total else "?")
    if total and file.tell() < total:
        raise ConnectionError(f"the connection ended after {file.tell()} of {total} bytes")

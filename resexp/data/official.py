"""Data sets from their official files, fetched where they are missing; their MD5s are enforced."""

import hashlib
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.config.settings import OfficialConfig, expand
from resexp.data.dataset import Dataset, Split
from resexp.data.download import UnreachableError, download
from resexp.data.kinds import KINDS, Kind
from resexp.errors import UserError
from resexp.seeds import generator_of
from resexp.system.files import TEMPORARY, user_cache
from resexp.system.lock import acquire

log = logging.getLogger("resexp")


def load(config: OfficialConfig) -> Dataset:
    """Read the official files, fetching them first where they are missing (see `data_folder`).

    Raises UserError where they are absent and cannot be fetched, or damaged.
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
    with ThreadPoolExecutor() as threads:  # MD5 takes a core for each
        loaded = threads.map(partial(_images, kind, folder), (*kind.train, *kind.test))
        files = dict(zip((*kind.train, *kind.test), loaded, strict=True))
    train, test = (_split([files[name] for name in names]) for names in (kind.train, kind.test))
    names = kind.classes(*(_read(kind, folder, name) for name in kind.meta))
    validation = None
    if config.validation:
        kept, held_out = hold_out(train.labels, config.validation, config.seed)
        validation = Split(train.images[held_out], train.labels[held_out])
        train = Split(train.images[kept], train.labels[kept])
    return Dataset(config.name, names, train, test, validation)


def _images(kind: Kind, folder: Path, name: str) -> tuple[NDArray[np.uint8], list[int]]:
    return kind.images(_read(kind, folder, name))


def _split(files: list[tuple[NDArray[np.uint8], list[int]]]) -> Split:
    images, labels = zip(*files, strict=True)
    return Split(torch.from_numpy(np.concatenate(images)), torch.tensor([label for own in labels for label in own]))


def hold_out(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rising indices (kept, held out): `count` are held out, as many of each class, drawn by `seed`."""
    order = torch.randperm(len(labels), generator=generator_of("validation", seed))
    classes = labels.unique()
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in classes:
        held_out[order[labels[order] == label][: count // len(classes)]] = True
    return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()


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


def _read(kind: Kind, folder: Path, name: str) -> bytes:
    """What a file holds. Raises UserError where it cannot be read or is not the official one."""
    path = folder / kind.folder / name
    try:
        content, actual = _md5(path)
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

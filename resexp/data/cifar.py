"""CIFAR-10 and CIFAR-100 from their official files, fetched where they are missing; their MD5s are enforced."""

import hashlib
import logging
import os
import pickle
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resexp.config.settings import CifarConfig, expand
from resexp.data.dataset import Dataset, Split
from resexp.data.download import UnreachableError, download
from resexp.errors import UserError
from resexp.seeds import generator_of
from resexp.system.files import TEMPORARY, user_cache
from resexp.system.lock import acquire

log = logging.getLogger("resexp")

SITE = "https://www.cs.toronto.edu/~kriz"


@dataclass(frozen=True)
class Kind:
    """A data set as it is published: an archive with a folder of pickled files, each with its MD5."""

    name: str
    folder: str
    archive: str
    archive_md5: str
    train: dict[str, str]
    test: dict[str, str]
    meta: dict[str, str]
    labels: str = "labels"
    """Where a file of images has them."""
    classes: str = "label_names"
    """Where the last file has their names."""

    @property
    def title(self) -> str:
        """The name as people write it."""
        return self.name.replace("cifar", "CIFAR-")

    @property
    def files(self) -> dict[str, str]:
        """All of them, by name."""
        return self.train | self.test | self.meta


CIFAR10 = Kind(
    "cifar10",
    "cifar-10-batches-py",
    "cifar-10-python.tar.gz",
    "c58f30108f718f92721af3b95e74349a",
    {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    {"test_batch": "40351d587109b95175f43aff81a1287e"},
    {"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
)
CIFAR100 = Kind(
    "cifar100",
    "cifar-100-python",
    "cifar-100-python.tar.gz",
    "eb9058c3a382ffc7106e4002c42a8d85",
    {"train": "16019d7e3df5f24257cddd939b257f8d"},
    {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    {"meta": "7973b15100ade9c7d40fb424638fde48"},
    "fine_labels",
    "fine_label_names",
)
KINDS = {kind.name: kind for kind in (CIFAR10, CIFAR100)}


def load(config: CifarConfig) -> Dataset:
    """Read the official files, fetching them first where they are missing (see `data_folder`).

    Raises UserError where they are absent and cannot be fetched, or damaged.
    """
    kind, folder = KINDS[config.name], data_folder(config.dir)
    if not _complete(kind, folder / kind.folder):
        for name, other in KINDS.items():
            if _complete(other, folder / kind.folder):
                own = f"data={name} reads them from {other.folder}"
                raise UserError(f"{folder / kind.folder} holds the files of {other.title}; {own}")
        if not config.download:
            raise _absent(kind, folder, "data.download=false")
        url = _as_url(config.url or f"{SITE}/{kind.archive}")
        try:
            _fetch(kind, folder, url)
        except UnreachableError as error:
            raise _absent(kind, folder, f"{url}: {error}") from error
        except OSError as error:
            raise _absent(kind, folder, f"cannot write to it: {error.strerror or error}") from error
    with ThreadPoolExecutor() as threads:  # MD5 takes a core for each
        entries = dict(zip(kind.files, threads.map(partial(_read, kind, folder), kind.files), strict=True))
    train, test = (
        Split(
            torch.from_numpy(np.concatenate([entries[name]["data"] for name in names]).reshape(-1, 3, 32, 32)),
            torch.tensor([label for name in names for label in entries[name][kind.labels]]),
        )
        for names in (kind.train, kind.test)
    )
    (names,) = (entries[name][kind.classes] for name in kind.meta)
    validation = None
    if config.validation:
        kept, held_out = hold_out(train.labels, config.validation, config.seed)
        validation = Split(train.images[held_out], train.labels[held_out])
        train = Split(train.images[kept], train.labels[kept])
    return Dataset(config.name, names, train, test, validation)


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
    return UserError(
        f"{kind.title} is not in {folder} ({why}); put {kind.folder} there, give another folder with "
        "data.dir=PATH or an archive with data.url=FILE-OR-URL, or use data=shapes, which needs no download"
    )


def _read(kind: Kind, folder: Path, name: str) -> dict[str, Any]:
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
    return pickle.loads(content, encoding="latin1")


def _fetch(kind: Kind, folder: Path, url: str) -> None:
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
        log.info("fetching %s from %s into %s", kind.title, url, folder)
        with TemporaryDirectory(prefix=prefix, dir=folder) as temporary:
            archive = Path(temporary, "archive.tar.gz")
            with archive.open("wb") as file:
                download(url, file)
            if (actual := _md5(archive)[1]) != kind.archive_md5:
                others = {other.archive_md5: f", that of {other.title}" for other in KINDS.values()}
                why = f"{url} has MD5 {actual}{others.get(actual, '')}, expected {kind.archive_md5}"
                raise _absent(kind, folder, why)
            with tarfile.open(archive) as tar:
                tar.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Python before 3.11.4
                tar.extractall(temporary)
            (folder / kind.folder).mkdir(exist_ok=True)
            for part in kind.files:
                Path(temporary, kind.folder, part).replace(folder / kind.folder / part)

"""CIFAR-10 and CIFAR-100 from their official files, fetched where they are missing; torchvision's MD5s are enforced."""

import logging
import os
import shutil
import tarfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import calculate_md5

from resexp.config.settings import CifarConfig, expand
from resexp.data.dataset import Dataset, Split
from resexp.data.download import UnreachableError, download
from resexp.errors import UserError
from resexp.seeds import generator_of
from resexp.system.files import TEMPORARY, user_cache
from resexp.system.lock import acquire

log = logging.getLogger("resexp")

KINDS: dict[str, type[CIFAR10]] = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def load(config: CifarConfig) -> Dataset:
    """Read the official files, fetching them first where they are missing (see `data_folder`).

    Raises UserError where they are absent and cannot be fetched, or damaged.
    """
    kind, folder = KINDS[config.name], data_folder(config.dir)
    if not _complete(kind, folder / kind.base_folder):
        for name, other in KINDS.items():
            if _complete(other, folder / kind.base_folder):
                own = f"data={name} reads them from {other.base_folder}"
                raise UserError(f"{folder / kind.base_folder} holds the files of {_title(other)}; {own}")
        if not config.download:
            raise _absent(kind, folder, "data.download=false")
        url = _as_url(config.url or kind.url)
        try:
            _fetch(kind, folder, url)
        except UnreachableError as error:
            raise _absent(kind, folder, f"{url}: {error}") from error
        except OSError as error:
            raise _absent(kind, folder, f"cannot write to it: {error.strerror or error}") from error
    try:
        parts = kind(folder), kind(folder, train=False)
    except (RuntimeError, OSError) as error:
        raise _damaged(kind, folder, error) from error
    train, test = (
        Split(torch.from_numpy(part.data.transpose(0, 3, 1, 2)), torch.tensor(part.targets)) for part in parts
    )
    validation = None
    if config.validation:
        kept, held_out = hold_out(train.labels, config.validation, config.seed)
        validation = Split(train.images[held_out], train.labels[held_out])
        train = Split(train.images[kept], train.labels[kept])
    return Dataset(config.name, list(parts[0].classes), train, test, validation)


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


def _title(kind: type[CIFAR10]) -> str:
    return kind.__name__.replace("CIFAR", "CIFAR-")


def _md5s(kind: type[CIFAR10]) -> dict[str, str]:
    return dict([*kind.train_list, *kind.test_list, [kind.meta["filename"], kind.meta["md5"]]])


def _complete(kind: type[CIFAR10], folder: Path) -> bool:
    return all(os.access(folder / name, os.F_OK) for name in _md5s(kind))


def _absent(kind: type[CIFAR10], folder: Path, why: str) -> UserError:
    return UserError(
        f"{_title(kind)} is not in {folder} ({why}); put {kind.base_folder} there, give another folder with "
        "data.dir=PATH or an archive with data.url=FILE-OR-URL, or use data=shapes, which needs no download"
    )


def _damaged(kind: type[CIFAR10], folder: Path, error: Exception) -> UserError:
    for name, expected in _md5s(kind).items():
        path = folder / kind.base_folder / name
        with suppress(OSError):
            if (actual := calculate_md5(path)) != expected:
                return UserError(
                    f"{path} is damaged (MD5 {actual}, expected {expected}); delete it, so that the next run with "
                    "data.download=true fetches it again, or give another folder with data.dir=PATH"
                )
    return UserError(f"{_title(kind)} in {folder} cannot be read ({error}); give another folder with data.dir=PATH")


def _fetch(kind: type[CIFAR10], folder: Path, url: str) -> None:
    """Put the official files into `folder`, one process at a time; those that waited find them there."""
    title, name = _title(kind), kind.__name__.lower()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("a") as lock:
        if not acquire(lock, folder):
            log.info("waiting for another process that is fetching %s into %s", title, folder)
            acquire(lock, folder, wait=True)
        if _complete(kind, folder / kind.base_folder):
            return
        prefix = f"{TEMPORARY}{name}-"
        for left_by_killed_process in folder.glob(f"{prefix}*"):
            shutil.rmtree(left_by_killed_process, ignore_errors=True)
        log.info("fetching %s from %s into %s", title, url, folder)
        with TemporaryDirectory(prefix=prefix, dir=folder) as temporary:
            archive = Path(temporary, "archive.tar.gz")
            with archive.open("wb") as file:
                download(url, file)
            if (actual := calculate_md5(archive)) != kind.tgz_md5:
                others = {other.tgz_md5: f", that of {_title(other)}" for other in KINDS.values()}
                why = f"{url} has MD5 {actual}{others.get(actual, '')}, expected {kind.tgz_md5}"
                raise _absent(kind, folder, why)
            with tarfile.open(archive) as tar:
                tar.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Python before 3.11.4
                tar.extractall(temporary)
            (folder / kind.base_folder).mkdir(exist_ok=True)
            for part in _md5s(kind):
                Path(temporary, kind.base_folder, part).replace(folder / kind.base_folder / part)

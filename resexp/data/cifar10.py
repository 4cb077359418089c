"""CIFAR-10 from its official files, fetched once where they are missing; torchvision's MD5s are enforced."""

import logging
import os
import shutil
import tarfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import calculate_md5

from resexp.config.settings import Cifar10Config, expand
from resexp.data.dataset import Dataset, Split
from resexp.data.download import UnreachableError, download
from resexp.errors import UserError
from resexp.seeds import generator_of
from resexp.system.files import TEMPORARY, user_cache
from resexp.system.lock import acquire

log = logging.getLogger("resexp")

BATCHES = "cifar-10-batches-py"


def load(config: Cifar10Config) -> Dataset:
    """Read the official files, fetching them first where they are missing (see `data_folder`).

    Raises UserError where they are absent and cannot be fetched, or damaged.
    """
    folder = data_folder(config.dir)
    if not _complete(folder):
        if not config.download:
            raise _absent(folder, "data.download=false")
        url = _as_url(config.url or CIFAR10.url)
        try:
            _fetch(folder, url)
        except UnreachableError as error:
            raise _absent(folder, f"{url}: {error}") from error
        except OSError as error:
            raise _absent(folder, f"cannot write to it: {error.strerror or error}") from error
    try:
        parts = CIFAR10(folder), CIFAR10(folder, train=False)
    except (RuntimeError, OSError) as error:
        raise _damaged(folder, error) from error
    train, test = (
        Split(torch.from_numpy(part.data.transpose(0, 3, 1, 2)), torch.tensor(part.targets)) for part in parts
    )
    validation = None
    if config.validation:
        kept, held_out = hold_out(train.labels, config.validation, config.seed)
        validation = Split(train.images[held_out], train.labels[held_out])
        train = Split(train.images[kept], train.labels[kept])
    return Dataset("cifar10", list(parts[0].classes), train, test, validation)


def hold_out(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rising indices (kept, held out): `count` are held out, as many of each class, drawn by `seed`."""
    order = torch.randperm(len(labels), generator=generator_of("validation", seed))
    classes = labels.unique()
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in classes:
        held_out[order[labels[order] == label][: count // len(classes)]] = True
    return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()


def data_folder(setting: str | None) -> Path:
    """The folder that holds cifar-10-batches-py: data.dir, else $RESEXP_DATA, else resexp/ in the user's cache."""
    return expand("data.dir", setting or os.environ.get("RESEXP_DATA") or user_cache())


def _as_url(source: str) -> str:
    is_url = "://" in source or source.startswith("file:")
    return source if is_url else expand("data.url", source).absolute().as_uri()


def _md5s() -> dict[str, str]:
    return dict([*CIFAR10.train_list, *CIFAR10.test_list, [CIFAR10.meta["filename"], CIFAR10.meta["md5"]]])


def _complete(folder: Path) -> bool:
    return all(os.access(folder / BATCHES / name, os.F_OK) for name in _md5s())


def _absent(folder: Path, why: str) -> UserError:
    return UserError(
        f"CIFAR-10 is not in {folder} ({why}); put {BATCHES} there, give another folder with data.dir=PATH "
        "or an archive with data.url=FILE-OR-URL, or use data=shapes, which needs no download"
    )


def _damaged(folder: Path, error: Exception) -> UserError:
    for name, expected in _md5s().items():
        path = folder / BATCHES / name
        with suppress(OSError):
            if (actual := calculate_md5(path)) != expected:
                return UserError(
                    f"{path} is damaged (MD5 {actual}, expected {expected}); delete it, so that the next run with "
                    "data.download=true fetches it again, or give another folder with data.dir=PATH"
                )
    return UserError(f"CIFAR-10 in {folder} cannot be read ({error}); give another folder with data.dir=PATH")


def _fetch(folder: Path, url: str) -> None:
    """Put the official files into `folder`, one process at a time; those that waited find them there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".cifar10.lock").open("a") as lock:
        if not acquire(lock, folder):
            log.info("waiting for another process that is fetching CIFAR-10 into %s", folder)
            acquire(lock, folder, wait=True)
        if _complete(folder):
            return
        prefix = f"{TEMPORARY}cifar10-"
        for left_by_killed_process in folder.glob(f"{prefix}*"):
            shutil.rmtree(left_by_killed_process, ignore_errors=True)
        log.info("fetching CIFAR-10 from %s into %s", url, folder)
        with TemporaryDirectory(prefix=prefix, dir=folder) as temporary:
            archive = Path(temporary, "archive.tar.gz")
            with archive.open("wb") as file:
                download(url, file)
            if (actual := calculate_md5(archive)) != CIFAR10.tgz_md5:
                raise _absent(folder, f"{url} has MD5 {actual}, expected {CIFAR10.tgz_md5}")
            with tarfile.open(archive) as tar:
                tar.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Python before 3.11.4
                tar.extractall(temporary)
            (folder / BATCHES).mkdir(exist_ok=True)
            for name in _md5s():
                Path(temporary, BATCHES, name).replace(folder / BATCHES / name)

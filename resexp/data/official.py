"""The images of a data set whose official files are published; their MD5s are enforced."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.config.settings import OfficialConfig
from resexp.data import files
from resexp.data.dataset import Dataset, Split
from resexp.data.kinds import Kind
from resexp.seeds import generator_of


def load(config: OfficialConfig) -> Dataset:
    """Read the official files, fetching them first where they are missing (see `files.data_folder`).

    Raises UserError where they are absent and cannot be fetched, or damaged.
    """
    kind, folder = files.there(config)
    with ThreadPoolExecutor() as threads:  # MD5 takes a core for each
        loaded = threads.map(partial(_images, kind, folder), (*kind.train, *kind.test))
        parts = dict(zip((*kind.train, *kind.test), loaded, strict=True))
    train, test = (_split([parts[name] for name in names]) for names in (kind.train, kind.test))
    names = kind.classes(*(files.read(kind, folder, name) for name in kind.meta))
    validation = None
    if config.validation:
        kept, held_out = hold_out(train.labels, config.validation, config.seed)
        validation = Split(train.images[held_out], train.labels[held_out])
        train = Split(train.images[kept], train.labels[kept])
    return Dataset(config.name, names, train, test, validation)


def _images(kind: Kind, folder: Path, name: str) -> tuple[NDArray[np.uint8], list[int]]:
    return kind.images(files.read(kind, folder, name))


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

"""Data sets: official files, a folder of images, or nothing at all become uint8 tensors."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from resexp.config.settings import Cifar10Config, DataConfig, FolderConfig, ShapesConfig
from resexp.errors import UserError


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, 3, H, W) and their labels int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """What a network is trained on and what it is tested on; `validation` is empty unless images were held out."""

    name: str
    classes: list[str]
    train: Split
    test: Split
    validation: Split | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all pixels and labels, in hexadecimal."""
        sha = hashlib.sha256(repr(self.classes).encode())
        for split in (self.train, self.test):
            sha.update(split.images.numpy().tobytes())
            sha.update(split.labels.numpy().tobytes())
        return sha.hexdigest()


def load(config: DataConfig) -> Dataset:
    """Read or generate a data set. Raises UserError that says where files are missing or damaged."""
    if isinstance(config, Cifar10Config):
        try:
            from resexp.data import cifar10
        except (ImportError, RuntimeError) as error:  # its compiled half was built for another torch
            why = str(error).splitlines()[0]
            raise UserError(f"data=cifar10: torchvision does not fit torch ({why}); install both anew") from error
        return cifar10.load(config)
    if isinstance(config, FolderConfig):
        from resexp.data import folder

        return folder.load(config)
    assert isinstance(config, ShapesConfig)
    from resexp.data import shapes

    return shapes.load(config)

"""What every data set is: uint8 images and their labels, in splits."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, 3, H, W) and their labels int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """What a network is trained and tested on; `validation` is None unless images were held out."""

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
            sha.update(split.images.contiguous().numpy().data)
            sha.update(split.labels.contiguous().numpy().data)
        return sha.hexdigest()

"""The data sets that are published as files of a known MD5: CIFAR-10, CIFAR-100 and SVHN."""

import io
import pickle
import tarfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

CIFAR_SITE = "https://www.cs.toronto.edu/~kriz"
SVHN_SITE = "http://ufldl.stanford.edu/housenumbers"


@dataclass(frozen=True)
class Kind(ABC):
    """Files with 32x32 images, which lie in a folder of their own, each with its MD5."""

    name: str
    title: str
    """The name as people write it."""
    folder: str
    train: dict[str, str]
    test: dict[str, str]
    meta: dict[str, str]
    """The file that names the classes, if there is one."""
    needs: ClassVar[str] = ""
    """The package that reads the files, if it comes with an extra of the data set's name."""

    @property
    def files(self) -> dict[str, str]:
        """All of them, by name."""
        return self.train | self.test | self.meta

    @abstractmethod
    def downloads(self, url: str | None) -> list[tuple[str, str, str]]:
        """Each file to fetch: its name, its URL, its MD5. `url` stands in for the official place."""

    @abstractmethod
    def images(self, content: bytes) -> tuple[NDArray[np.uint8], list[int]]:
        """The images (N, 3, 32, 32) and labels of a file."""

    @abstractmethod
    def classes(self, *meta: bytes) -> list[str]:
        """The names of the classes, from the files of `meta`."""

    def unpack(self, downloaded: Path, folder: Path) -> None:
        """Put what was fetched into `folder`, under the names of `files`."""
        folder.mkdir(exist_ok=True)
        downloaded.replace(folder / downloaded.name)


@dataclass(frozen=True)
class Cifar(Kind):
    """An archive of pickled dictionaries (Krizhevsky, "Learning Multiple Layers of Features", 2009)."""

    archive: str
    archive_md5: str
    labels: str
    """Key of the labels in a file of images."""
    names: str
    """Key of their names in the file of `meta`."""

    def downloads(self, url: str | None) -> list[tuple[str, str, str]]:
        """The archive, for which `url` stands."""
        return [(self.archive, url or f"{CIFAR_SITE}/{self.archive}", self.archive_md5)]

    def images(self, content: bytes) -> tuple[NDArray[np.uint8], list[int]]:
        """Rows of 3,072 bytes: the red plane, the green, the blue."""
        entry = _unpickled(content)
        return entry["data"].reshape(-1, 3, 32, 32), entry[self.labels]

    def classes(self, *meta: bytes) -> list[str]:
        """As the file has them."""
        return _unpickled(meta[0])[self.names]

    def unpack(self, downloaded: Path, folder: Path) -> None:
        """The archive has the folder in it."""
        with tarfile.open(downloaded) as tar:
            tar.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Python before 3.11.4
            tar.extractall(folder.parent)


@dataclass(frozen=True)
class Svhn(Kind):
    """Digits of house numbers in two files of MATLAB's (Netzer et al., "Reading Digits in Natural Images", 2011)."""

    needs = "scipy"

    def downloads(self, url: str | None) -> list[tuple[str, str, str]]:
        """Both files, for whose folder `url` stands."""
        folder = (url or SVHN_SITE).rstrip("/")
        return [(name, f"{folder}/{name}", md5) for name, md5 in self.files.items()]

    def images(self, content: bytes) -> tuple[NDArray[np.uint8], list[int]]:
        """X of (32, 32, 3, N), row, column and colour first; y of (N, 1), where 10 stands for the digit 0."""
        from scipy.io import loadmat  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

        entry: dict[str, Any] = loadmat(io.BytesIO(content))
        return np.ascontiguousarray(entry["X"].transpose(3, 2, 0, 1)), (entry["y"].ravel() % 10).tolist()

    def classes(self, *meta: bytes) -> list[str]:
        """The digits."""
        return [str(digit) for digit in range(10)]


def _unpickled(content: bytes) -> dict[str, Any]:
    return pickle.loads(content, encoding="latin1")


CIFAR10 = Cifar(
    "cifar10",
    "CIFAR-10",
    "cifar-10-batches-py",
    {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    {"test_batch": "40351d587109b95175f43aff81a1287e"},
    {"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
    "cifar-10-python.tar.gz",
    "c58f30108f718f92721af3b95e74349a",
    "labels",
    "label_names",
)
CIFAR100 = Cifar(
    "cifar100",
    "CIFAR-100",
    "cifar-100-python",
    {"train": "16019d7e3df5f24257cddd939b257f8d"},
    {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    {"meta": "7973b15100ade9c7d40fb424638fde48"},
    "cifar-100-python.tar.gz",
    "eb9058c3a382ffc7106e4002c42a8d85",
    "fine_labels",
    "fine_label_names",
)
SVHN = Svhn(
    "svhn",
    "SVHN",
    "svhn",
    {"train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373"},
    {"test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3"},
    {},
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in (CIFAR10, CIFAR100, SVHN)}

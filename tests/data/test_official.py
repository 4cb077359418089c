"""CIFAR-10, CIFAR-100 and SVHN: what is read, where it is fetched from, and what is said when that fails."""

import errno
import hashlib
import io
import logging
import pickle
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Here
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchvision.datasets import CIFAR10, CIFAR100, SVHN

from resexp.config.settings import OfficialConfig
from resexp.data import download, files, kinds, official
from resexp.data.load import load
from resexp.errors import UserError

OFFICIAL = files.data_folder(None)
FILES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch", "batches.meta"]
SVHN_FILES = ["train_32x32.mat", "test_32x32.mat"]
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
NOWHERE = "http://127.0.0.1:1/cifar10.tar.gz"


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def settings(
    folder: Path | str | None = None,
    url: str | Path | None = None,
    download: bool = True,
    validation: int = 0,
    name: str = "cifar10",
) -> OfficialConfig:
    place = None if folder is None else str(folder)
    return OfficialConfig(name, place, download, None if url is None else str(url), validation, seed=0)


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the user's own files or proxy, or waits long between two tries."""
    monkeypatch.delenv("RESEXP_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "PAUSES", (0.01, 0.01))


@dataclass
class Fake:
    """Ten images a batch, in the official layout."""

    folder: Path
    archive: Path
    images: NDArray[np.uint8]
    labels: list[int]


def publish(monkeypatch: pytest.MonkeyPatch, name: str, folder: Path, contents: dict[str, dict[str, Any]]) -> Path:
    """Write files in the official layout, and let them and their archive, which is returned, be the official ones."""
    kind, place = kinds.KINDS[name], folder / "official" / kinds.KINDS[name].folder
    place.mkdir(parents=True)
    for file, content in contents.items():
        (place / file).write_bytes(pickle.dumps(content, protocol=2))
    md5s = {file: md5((place / file).read_bytes()) for file in contents}
    archive = folder / f"{name}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(place, kind.folder)
    assert isinstance(kind, kinds.Cifar)
    parts: Any = {part: {file: md5s[file] for file in getattr(kind, part)} for part in ("train", "test", "meta")}
    monkeypatch.setitem(kinds.KINDS, name, replace(kind, archive_md5=md5(archive.read_bytes()), **parts))
    return archive


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 3072), dtype=np.uint8)
    labels = [int(label) for _ in range(6) for label in random.permutation(10)]
    contents: dict[str, dict[str, Any]] = {"batches.meta": {"label_names": CLASSES}}
    for i, name in enumerate(FILES[:-1]):
        own = slice(10 * i, 10 * i + 10)
        contents[name] = {"data": images[own], "labels": labels[own]}
    archive = publish(monkeypatch, "cifar10", tmp_path, contents)
    return Fake(tmp_path / "official", archive, images.reshape(-1, 3, 32, 32), labels)


@pytest.fixture
def hundred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """One image of each class for training and one for the test, in the official layout of CIFAR-100."""
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (200, 3072), dtype=np.uint8)
    labels = [int(label) for _ in range(2) for label in random.permutation(100)]
    contents: dict[str, dict[str, Any]] = {
        "train": {"data": images[:100], "fine_labels": labels[:100], "coarse_labels": [0] * 100},
        "test": {"data": images[100:], "fine_labels": labels[100:], "coarse_labels": [0] * 100},
        "meta": {"fine_label_names": [f"class{i}" for i in range(100)], "coarse_label_names": ["all"]},
    }
    archive = publish(monkeypatch, "cifar100", tmp_path, contents)
    return Fake(tmp_path / "official", archive, images.reshape(-1, 3, 32, 32), labels)


class Server:
    """A web server that answers each request by the next of `answers`, then by giving the whole content."""

    def __init__(self, content: bytes) -> None:
        self.content, self.url = content, ""
        self.answers: list[int | str] = []
        """A status of failure, or how the content is sent."""
        self.ranges: list[str | None] = []
        """The Range header of each request so far."""
        self.released = threading.Event()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.ranges.append(handler.headers["Range"])
        how = self.answers.pop(0) if self.answers else "whole"
        content = b"" if isinstance(how, int) else self.content
        if how == "the rest":
            content = content[int((handler.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-")) :]
        if how in ("silent", "waits"):
            self.released.wait(20)
        handler.send_response(how if isinstance(how, int) else 206 if how == "the rest" else 200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if how in ("breaks off", "stalls"):
            content = content[:100]
        step = len(content) // 8 + 1 if how == "slow" else len(content) + 1
        for begin in range(0, len(content), step):
            handler.wfile.write(content[begin : begin + step])
            handler.wfile.flush()
            time.sleep(0.1 if how == "slow" else 0)
        if how == "stalls":
            self.released.wait(20)


@pytest.fixture
def server(fake: Fake) -> Iterator[Server]:
    served = Server(fake.archive.read_bytes())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http, ThreadPoolExecutor(1) as thread:
        served.url = f"http://127.0.0.1:{http.server_port}/cifar10.tar.gz"
        thread.submit(http.serve_forever, 0.02)
        yield served
        served.released.set()
        http.shutdown()


def refused(config: OfficialConfig, *parts: object) -> None:
    """Loading fails, and all these parts stand in the one line that the user reads."""
    with pytest.raises(UserError) as error:
        official.load(config)
    assert "\n" not in str(error.value)
    for part in parts:
        assert str(part) in str(error.value)


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_pixels_and_labels_are_those_of_the_official_files_in_their_order(fake: Fake) -> None:
    data = official.load(settings(fake.folder, NOWHERE))
    assert (data.name, data.classes, data.validation) == ("cifar10", CLASSES, None)
    for split, part in ((data.train, slice(0, 50)), (data.test, slice(50, 60))):
        assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)
        assert np.array_equal(split.images.numpy(), fake.images[part])
        assert split.labels.tolist() == fake.labels[part]
    assert left_in(fake.folder) == {"cifar-10-batches-py"}, "files that are there need no write access"


def test_files_that_are_read_ahead_are_checked_and_fetched_as_others_are(tmp_path: Path, fake: Fake) -> None:
    expected = official.load(settings(fake.folder)).digest
    ahead = settings(tmp_path / "sets", fake.archive)
    files.read_ahead(ahead)  # nothing is there yet
    for _ in range(2):
        assert official.load(ahead).digest == expected
        assert not files._ahead, "what is read twice is kept for nothing"
        files.read_ahead(ahead)
        assert {path.name for path in files._ahead} == {*FILES}
    official.load(ahead)
    damaged = tmp_path / "sets" / "cifar-10-batches-py" / "data_batch_3"
    damaged.write_bytes(b"damaged")
    files.read_ahead(ahead)
    refused(ahead, damaged, "is damaged")


def test_cifar100_lies_beside_cifar10_and_has_a_hundred_classes(tmp_path: Path, fake: Fake, hundred: Fake) -> None:
    sets = tmp_path / "sets"
    official.load(settings(sets, fake.archive))
    data = load(settings(sets, hundred.archive, name="cifar100"))
    assert left_in(sets) == {"cifar-10-batches-py", ".cifar10.lock", "cifar-100-python", ".cifar100.lock"}
    assert (data.name, len(data.classes), data.classes[99]) == ("cifar100", 100, "class99")
    for split, part in ((data.train, slice(0, 100)), (data.test, slice(100, 200))):
        assert np.array_equal(split.images.numpy(), hundred.images[part])
        assert split.labels.tolist() == hundred.labels[part]
    with pytest.raises(UserError, match=r"^data\.validation=50: a multiple of 100 from 0 to 49900, "):
        settings(validation=50, name="cifar100")


def test_files_of_the_other_data_set_are_named_as_such(tmp_path: Path, hundred: Fake) -> None:
    refused(settings(tmp_path / "sets", hundred.archive), "CIFAR-10 is not in", hundred.archive, ", that of CIFAR-100,")
    (hundred.folder / "cifar-100-python").rename(tmp_path / "cifar-10-batches-py")
    remedy = "data=cifar100 reads them from cifar-100-python"
    refused(settings(tmp_path), tmp_path / "cifar-10-batches-py", "holds the files of CIFAR-100", remedy)
    refused(settings(tmp_path, download=False, name="cifar100"), "CIFAR-100 is not in", "put cifar-100-python there")


def test_the_folder_is_the_setting_then_the_variable_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert files.data_folder(None) == tmp_path / "cache" / "resexp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert files.data_folder(None) == tmp_path / ".cache" / "resexp"
    monkeypatch.setenv("RESEXP_DATA", "~/sets")
    assert files.data_folder(None) == tmp_path / "sets"
    assert files.data_folder("~/mine") == tmp_path / "mine"


@given(st.integers(1, 19).map(lambda tens: 10 * tens), st.integers(0, 2**31 - 1))
def test_held_out_images_are_as_many_of_each_class_and_depend_on_the_seed_alone(count: int, seed: int) -> None:
    labels = torch.arange(200) * 7 % 10
    kept, held_out = (indices.tolist() for indices in official.hold_out(labels, count, seed))
    assert labels[held_out].bincount(minlength=10).tolist() == [count // 10] * 10
    assert sorted(kept + held_out) == list(range(200))
    assert (kept, held_out) == (sorted(kept), sorted(held_out))
    torch.rand(1)
    assert official.hold_out(labels, count, seed)[1].tolist() == held_out
    assert any(official.hold_out(labels, count, seed + more)[1].tolist() != held_out for more in (1, 2, 3))


def test_validation_images_leave_the_training_set(fake: Fake) -> None:
    data = official.load(settings(fake.folder, validation=20))
    assert data.validation is not None
    kept, held_out = official.hold_out(torch.tensor(fake.labels[:50]), 20, seed=0)
    for split, indices in ((data.train, kept), (data.validation, held_out)):
        assert np.array_equal(split.images.numpy(), fake.images[indices.numpy()])
        assert split.labels.tolist() == [fake.labels[i] for i in indices.tolist()]
    assert len(data.test) == 10


def test_a_damaged_file_is_named_with_both_md5s_and_a_remedy(fake: Fake) -> None:
    path = fake.folder / "cifar-10-batches-py" / "data_batch_3"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    refused(settings(fake.folder), path, md5(whole), md5(path.read_bytes()), "delete it", "data.dir=PATH")


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("folder", "source", "why"),
    [
        ("sets", None, ["data.download=false"]),
        ("cifar10.tar.gz/sets", "cifar10.tar.gz", ["cannot write"]),
        ("sets", "missing.tar.gz", ["missing.tar.gz: ", "No such file"]),
        ("sets", NOWHERE, [NOWHERE, "Connection refused"]),
    ],
)
def test_files_that_cannot_be_fetched_are_refused_with_every_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, source: str | None, why: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    remedies = ("cifar-10-batches-py", "data.url=", "data.dir=PATH", "data=shapes")
    refused(settings(tmp_path / folder, source, download=source is not None), tmp_path / folder, *why, *remedies)
    assert source or not (tmp_path / folder).exists()


def test_a_full_disk_is_not_taken_for_a_broken_network(server: Server) -> None:
    class FullDisk(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        download.download(server.url, FullDisk())
    assert len(server.ranges) == 1


def test_the_official_archive_is_fetched_once(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "CIFAR_SITE", server.url.rpartition("/")[0])
    monkeypatch.setenv("RESEXP_DATA", str(tmp_path / "sets"))
    for _ in range(2):
        assert len(official.load(settings()).train) == 50
    assert server.ranges == [None]
    assert left_in(tmp_path / "sets") == {"cifar-10-batches-py", ".cifar10.lock"}


@pytest.mark.parametrize("source", ["{archive}", "~/cifar10.tar.gz", "file://{archive}"])
def test_a_local_archive_completes_a_folder_that_lacks_a_file(fake: Fake, source: str) -> None:
    (fake.folder / "cifar-10-batches-py" / "test_batch").unlink()
    assert len(official.load(settings(fake.folder, source.format(archive=fake.archive))).test) == 10
    assert fake.archive.exists()


def test_another_archive_is_refused_and_leaves_nothing(tmp_path: Path, server: Server) -> None:
    server.content = b"not the archive"
    refused(
        settings(tmp_path / "sets", server.url),
        server.url,
        md5(server.content),
        *(known for _, _, known in kinds.KINDS["cifar10"].downloads(None)),
        "data.url=",
    )
    assert left_in(tmp_path / "sets") == {".cifar10.lock"}


def test_what_a_killed_process_left_is_removed(tmp_path: Path, fake: Fake) -> None:
    orphan = tmp_path / "sets" / ".tmp-cifar10-orphan"
    orphan.mkdir(parents=True)
    (orphan / "archive.tar.gz").touch()
    official.load(settings(orphan.parent, fake.archive))
    assert not orphan.exists()


@pytest.mark.usefixtures("fake")
def test_an_interrupted_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(url: str, file: io.BufferedWriter) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        official.load(settings(tmp_path / "sets"))
    assert left_in(tmp_path / "sets") == {".cifar10.lock"}


@pytest.mark.parametrize(
    ("answers", "ranges"),
    [
        ([503], [None, None]),
        ([429], [None, None]),
        (["breaks off"], [None, "bytes=100-"]),
        (["breaks off", "the rest"], [None, "bytes=100-"]),
        ([503, 503, "breaks off", 503, "the rest"], [None, None, None, "bytes=100-", "bytes=100-"]),
    ],
    ids=str,
)
def test_a_failure_is_tried_again_where_it_broke_and_tries_are_counted_afresh_after_new_bytes(
    tmp_path: Path, server: Server, answers: list[int | str], ranges: list[str | None]
) -> None:
    server.answers = answers
    assert len(official.load(settings(tmp_path / "sets", server.url)).train) == 50
    assert server.ranges == ranges


@pytest.mark.parametrize(
    ("answer", "patience", "requests", "why"),
    [
        ("breaks off", 40, 3, "ended after 100 of "),
        (404, 40, 1, "404"),
        (503, 0, 1, "503"),
        ("stalls", 40, 3, "timed out"),
        ("silent", 40, 3, "timed out"),
    ],
)
def test_a_server_that_gives_nothing_is_given_up(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    answer: int | str,
    patience: float,
    requests: int,
    why: str,
) -> None:
    monkeypatch.setattr(download, "STALL", 0.2)
    monkeypatch.setattr(download, "PATIENCE", patience)
    server.answers = [answer] * 9
    began = time.monotonic()
    refused(settings(tmp_path / "sets", server.url), server.url, why)
    assert time.monotonic() - began < 10
    assert len(server.ranges) == requests
    assert left_in(tmp_path / "sets") == {".cifar10.lock"}


def test_a_slow_server_is_not_taken_for_a_stalled_one(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(download, "STALL", 0.6)
    monkeypatch.setattr(download, "SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level(logging.INFO, "resexp")
    server.answers = ["slow"]
    assert len(official.load(settings(tmp_path / "sets", server.url)).train) == 50
    assert len(server.ranges) == 1
    assert f" of {len(server.content) / 1e6:.1f} MB" in caplog.text


def test_of_two_that_need_the_files_at_once_one_fetches_them(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Two threads: the lock belongs to the open file, and keeps them apart as it does two processes."""
    caplog.set_level(logging.INFO, "resexp")
    server.answers = ["waits"]
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(official.load, settings(tmp_path / "sets", server.url)) for _ in range(2)]
        until(lambda: len(server.ranges) == 1 and "waiting for another process" in caplog.text)
        server.released.set()
    assert [len(loaded.result().train) for loaded in both] == [50, 50]
    assert len(server.ranges) == 1


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(
    not (OFFICIAL / "cifar-10-batches-py").is_dir(),
    reason=f"the official files are not in {OFFICIAL}; say where they are with RESEXP_DATA",
)
def test_the_official_files_hold_what_the_data_set_is_known_for() -> None:
    data = official.load(settings(OFFICIAL, download=False, validation=5000))
    assert data.validation is not None
    assert data.classes == CLASSES
    for split, each in ((data.train, 4500), (data.validation, 500), (data.test, 1000)):
        assert split.images.shape == (10 * each, 3, 32, 32)
        assert split.labels.bincount().tolist() == [each] * 10
    assert data.test.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    sums = [split.images.numpy().sum((0, 2, 3)) for split in (data.train, data.validation)]
    means = np.sum(sums, 0) / (50_000 * 32 * 32 * 255)
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)


@pytest.mark.parametrize(("kind", "theirs"), [(kinds.CIFAR10, CIFAR10), (kinds.CIFAR100, CIFAR100)])
def test_the_files_are_those_that_torchvision_knows(kind: kinds.Cifar, theirs: type[CIFAR10]) -> None:
    assert (f"{kinds.CIFAR_SITE}/{kind.archive}", kind.archive_md5) == (theirs.url, theirs.tgz_md5)
    assert (kind.folder, kind.names) == (theirs.base_folder, theirs.meta["key"])
    assert (kind.train, kind.test) == (dict(theirs.train_list), dict(theirs.test_list))
    assert kind.meta == {theirs.meta["filename"]: theirs.meta["md5"]}


def test_the_files_of_svhn_are_those_that_torchvision_knows() -> None:
    theirs = [SVHN.split_list[part] for part in ("train", "test")]
    assert kinds.SVHN.downloads(None) == [(name, url, known) for url, name, known in theirs]


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Thirty images for training and twenty for the test, in the official layout of SVHN: "0" is labelled 10."""
    matlab = pytest.importorskip("scipy.io", reason="needs resexp[svhn]")
    random = np.random.default_rng(2)
    images = random.integers(0, 256, (50, 3, 32, 32), dtype=np.uint8)
    labels = [int(label) for _ in range(5) for label in random.permutation(10)]
    folder = tmp_path / "housenumbers"
    folder.mkdir()
    for name, part in (("train_32x32.mat", slice(0, 30)), ("test_32x32.mat", slice(30, 50))):
        shown = [[label or 10] for label in labels[part]]
        entry = {"X": images[part].transpose(2, 3, 1, 0), "y": np.array(shown, dtype=np.uint8)}
        matlab.savemat(folder / name, entry, do_compression=True)
    train, test = ({name: md5((folder / name).read_bytes())} for name in SVHN_FILES)
    monkeypatch.setitem(kinds.KINDS, "svhn", replace(kinds.SVHN, train=train, test=test))
    return Fake(tmp_path, folder, images, labels)


def test_svhn_is_fetched_as_two_files_and_its_digits_are_their_labels(tmp_path: Path, digits: Fake) -> None:
    data = load(settings(tmp_path / "sets", digits.archive, validation=10, name="svhn"))
    assert left_in(tmp_path / "sets") == {"svhn", ".svhn.lock"}
    assert left_in(tmp_path / "sets" / "svhn") == set(SVHN_FILES) == left_in(digits.archive)
    assert (data.name, data.classes) == ("svhn", list("0123456789"))
    assert np.array_equal(data.test.images.numpy(), digits.images[30:])
    assert data.test.labels.tolist() == digits.labels[30:]
    assert data.validation is not None
    assert (len(data.train), sorted(data.validation.labels.tolist())) == (20, list(range(10)))
    (tmp_path / "sets" / "svhn" / SVHN_FILES[1]).unlink()
    assert len(load(settings(tmp_path / "sets", digits.archive, name="svhn")).test) == 20


def test_a_network_is_trained_on_svhn_and_mirrored_digits_are_remarked_on(
    digits: Fake, here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    short = ("recipe.iterations=2", "recipe.drops=[1]", "recipe.row_every=1", "recipe.evaluate_every=2")
    run = ("model.depth=8", "recipe.batch_size=10", *short, "data=svhn", f"data.url={digits.archive}", "data.dir=sets")
    here("train", *run)
    assert "recipe.flip=true: half of the digits are mirrored; recipe.flip=false mirrors none" in caplog.text
    assert "mirrored" not in here("train", *run, "recipe.flip=false", "plan=true")
    assert "svhn/paper" in here("status")


def test_svhn_that_is_not_there_is_refused_with_what_stands_in_for_it(
    tmp_path: Path, digits: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(
        settings(tmp_path, download=False, name="svhn"), "SVHN is not in", "put svhn there", "data.url=FOLDER-OR-URL"
    )
    (digits.archive / SVHN_FILES[1]).write_bytes(b"another")
    refused(settings(tmp_path, digits.archive, name="svhn"), f"{SVHN_FILES[1]} has MD5 {md5(b'another')}, expected")
    assert left_in(tmp_path / "svhn") == {SVHN_FILES[0]}, "what was fetched whole is kept"
    monkeypatch.setitem(sys.modules, "scipy", None)
    refused(settings(tmp_path, name="svhn"), "data=svhn: needs scipy", "pip install -e '.[svhn]'")


def test_what_is_too_large_to_be_the_archive_is_not_fetched_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MOST_BYTES", 100_000)
    source = tmp_path / "large"
    source.write_bytes(bytes(1_000_000))
    with pytest.raises(UserError, match="more than 0 MB, which is not the archive"):
        official.load(settings(tmp_path / "sets", url=str(source)))
    assert not list((tmp_path / "sets").glob(".tmp*"))

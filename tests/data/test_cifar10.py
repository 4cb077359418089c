"""CIFAR-10: what is read, where it is looked for, how it is fetched, and what a person is told when that fails."""

import errno
import hashlib
import io
import json
import logging
import pickle
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.datasets import CIFAR10

from resexp.config.settings import Cifar10Config
from resexp.data import cifar10, download
from resexp.data.load import load
from resexp.errors import UserError

OFFICIAL = cifar10.data_folder(None)
FILES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch", "batches.meta"]
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def settings(
    folder: Path | str | None = None, url: str | Path | None = None, download: bool = True, validation: int = 0
) -> Cifar10Config:
    place = None if folder is None else str(folder)
    return Cifar10Config("cifar10", place, download, None if url is None else str(url), validation, seed=0)


@dataclass
class Fake:
    """Ten images a batch, in the official layout."""

    folder: Path
    archive: Path
    images: NDArray[np.uint8]
    labels: list[int]
    patches: dict[str, object]


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the person's own files or proxy, or waits long between two tries."""
    monkeypatch.delenv("RESEXP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "PAUSES", (0.01, 0.01))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 3072), dtype=np.uint8)
    labels = [int(label) for _ in range(6) for label in random.permutation(10)]
    batches = tmp_path / "official" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    md5s: list[list[str]] = []
    for i, name in enumerate(FILES):
        own = slice(10 * i, 10 * i + 10)
        content = {"label_names": CLASSES} if name == "batches.meta" else {"data": images[own], "labels": labels[own]}
        (batches / name).write_bytes(pickle.dumps(content, protocol=2))
        md5s.append([name, md5((batches / name).read_bytes())])
    archive = tmp_path / "cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(batches, "cifar-10-batches-py")
    patches: dict[str, object] = {
        "train_list": md5s[:5],
        "test_list": md5s[5:6],
        "meta": {"filename": "batches.meta", "key": "label_names", "md5": md5s[6][1]},
        "tgz_md5": md5(archive.read_bytes()),
    }
    for name, value in patches.items():
        monkeypatch.setattr(CIFAR10, name, value)
    return Fake(batches.parent, archive, images.reshape(-1, 3, 32, 32), labels, patches)


Behaviour = Callable[["Server", BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """A web server that answers each request by the next behaviour, then by giving the whole content."""

    content: bytes
    behaviours: list[Behaviour] = field(default_factory=list[Behaviour])
    ranges: list[str | None] = field(default_factory=list[str | None])
    """The Range header of each request so far."""
    go_on: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.ranges.append(handler.headers["Range"])
        behaviour = self.behaviours.pop(0) if self.behaviours else whole
        behaviour(self, handler)


def send(handler: BaseHTTPRequestHandler, status: int, length: int, content: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.wfile.write(content)
    handler.wfile.flush()


def whole(server: Server, handler: BaseHTTPRequestHandler) -> None:
    send(handler, 200, len(server.content), server.content)


def rest(server: Server, handler: BaseHTTPRequestHandler) -> None:
    begin = int((handler.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    send(handler, 206, len(server.content) - begin, server.content[begin:])


def breaks_off(server: Server, handler: BaseHTTPRequestHandler) -> None:
    send(handler, 200, len(server.content), server.content[:100])


def stalls(server: Server, handler: BaseHTTPRequestHandler) -> None:
    breaks_off(server, handler)
    server.go_on.wait(20)


def silent(server: Server, handler: BaseHTTPRequestHandler) -> None:
    server.go_on.wait(20)


def waits(server: Server, handler: BaseHTTPRequestHandler) -> None:
    server.go_on.wait(20)
    whole(server, handler)


def trickles(server: Server, handler: BaseHTTPRequestHandler) -> None:
    send(handler, 200, len(server.content), b"")
    step = len(server.content) // 8 + 1
    for begin in range(0, len(server.content), step):
        time.sleep(0.1)
        handler.wfile.write(server.content[begin : begin + step])
        handler.wfile.flush()


def status(code: int) -> Behaviour:
    return lambda server, handler: send(handler, code, 0, b"")


@pytest.fixture
def server(fake: Fake) -> Iterator[Server]:
    served = Server(fake.archive.read_bytes())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        served.url = f"http://127.0.0.1:{http.server_port}/cifar.tar.gz"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield served
        served.go_on.set()
        http.shutdown()
        thread.join()


def message(config: Cifar10Config) -> str:
    """The one line that a person reads when loading fails."""
    with pytest.raises(UserError) as caught:
        cifar10.load(config)
    text = str(caught.value)
    assert "\n" not in text
    return text


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_reads_pixels_and_labels_in_the_official_order(fake: Fake) -> None:
    data = cifar10.load(settings(fake.folder))
    assert (data.name, data.classes, data.validation) == ("cifar10", CLASSES, None)
    assert data.train.images.dtype == torch.uint8
    assert data.train.labels.dtype == torch.int64
    assert np.array_equal(data.train.images.numpy(), fake.images[:50])
    assert np.array_equal(data.test.images.numpy(), fake.images[50:])
    assert data.train.labels.tolist() == fake.labels[:50]
    assert data.test.labels.tolist() == fake.labels[50:]


def test_files_that_are_there_need_neither_network_nor_write_access(fake: Fake) -> None:
    cifar10.load(settings(fake.folder, "http://127.0.0.1:1/"))
    assert left_in(fake.folder) == {"cifar-10-batches-py"}


def test_the_folder_is_the_setting_then_the_variable_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cifar10.data_folder(None) == tmp_path / "cache" / "resexp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cifar10.data_folder(None) == tmp_path / ".cache" / "resexp"
    monkeypatch.setenv("RESEXP_DATA", "~/sets")
    assert cifar10.data_folder(None) == tmp_path / "sets"
    assert cifar10.data_folder("~/mine") == tmp_path / "mine"


@pytest.mark.parametrize(("count", "seed"), [(10, 0), (70, 1), (190, 2)])
def test_held_out_images_are_as_many_of_each_class(count: int, seed: int) -> None:
    labels = torch.arange(200) * 7 % 10
    kept, held_out = cifar10.hold_out(labels, count, seed)
    assert labels[held_out].bincount(minlength=10).tolist() == [count // 10] * 10
    assert sorted(kept.tolist() + held_out.tolist()) == list(range(200))
    assert kept.tolist() == sorted(kept.tolist())
    assert held_out.tolist() == sorted(held_out.tolist())


def test_held_out_images_depend_on_the_seed_alone() -> None:
    labels = torch.arange(200) % 10
    first, again, other = (cifar10.hold_out(labels, 50, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_validation_images_leave_the_training_set(fake: Fake) -> None:
    data = cifar10.load(settings(fake.folder, validation=20))
    assert data.validation is not None
    kept, held_out = cifar10.hold_out(torch.tensor(fake.labels[:50]), 20, seed=0)
    for split, indices in ((data.train, kept), (data.validation, held_out)):
        assert np.array_equal(split.images.numpy(), fake.images[indices.numpy()])
        assert split.labels.tolist() == [fake.labels[i] for i in indices.tolist()]
    assert len(data.test) == 10


def test_a_damaged_file_is_named_with_both_md5s_and_a_remedy(fake: Fake) -> None:
    path = fake.folder / "cifar-10-batches-py" / "data_batch_3"
    expected = md5(path.read_bytes())
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    text = message(settings(fake.folder))
    for part in (str(path), expected, md5(path.read_bytes()), "delete it", "data.dir=PATH"):
        assert part in text


def test_absent_files_without_download(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    text = message(settings(folder, download=False))
    for part in (str(folder), "data.download=false", "cifar-10-batches-py", "data.url=", "data.dir=", "data=shapes"):
        assert part in text
    assert not folder.exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, fake: Fake) -> None:
    (tmp_path / "file").touch()
    text = message(settings(tmp_path / "file" / "folder", fake.archive))
    for part in (str(tmp_path / "file" / "folder"), "cannot write", "data.dir=PATH"):
        assert part in text


def test_a_full_disk_is_told_from_a_broken_network(tmp_path: Path, server: Server) -> None:
    class FullDisk(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        download.download(server.url, FullDisk())
    assert len(server.ranges) == 1


def test_the_official_archive_is_fetched_once(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR10, "url", server.url)
    monkeypatch.setenv("RESEXP_DATA", str(tmp_path / "sets"))
    for _ in range(2):
        assert len(cifar10.load(settings()).train) == 50
    assert server.ranges == [None]
    assert left_in(tmp_path / "sets") == {"cifar-10-batches-py", ".cifar10.lock"}


@pytest.mark.parametrize("form", ["path", "home", "url"])
def test_a_local_archive(form: str, tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(fake.archive.parent))
    source = {"path": str(fake.archive), "home": f"~/{fake.archive.name}", "url": fake.archive.as_uri()}[form]
    assert len(cifar10.load(settings(tmp_path / "sets", source)).test) == 10
    assert fake.archive.exists()


def test_a_local_archive_that_is_not_there(tmp_path: Path, fake: Fake) -> None:
    text = message(settings(tmp_path / "sets", tmp_path / "missing.tar.gz"))
    assert str(tmp_path / "missing.tar.gz") in text
    assert "No such file" in text


def test_fetching_completes_a_folder_that_lacks_a_file(fake: Fake) -> None:
    (fake.folder / "cifar-10-batches-py" / "test_batch").unlink()
    assert len(cifar10.load(settings(fake.folder, fake.archive)).test) == 10


def test_another_archive_is_refused_and_leaves_nothing(tmp_path: Path, server: Server, fake: Fake) -> None:
    server.content = b"not the archive"
    text = message(settings(tmp_path / "sets", server.url))
    for part in (server.url, md5(b"not the archive"), str(fake.patches["tgz_md5"]), "data.url="):
        assert part in text
    assert left_in(tmp_path / "sets") == {".cifar10.lock"}


def test_what_a_killed_process_left_is_removed(tmp_path: Path, fake: Fake) -> None:
    orphan = tmp_path / "sets" / ".tmp-cifar10-orphan"
    orphan.mkdir(parents=True)
    (orphan / "archive.tar.gz").touch()
    cifar10.load(settings(orphan.parent, fake.archive))
    assert not orphan.exists()


def test_an_interrupted_download_leaves_nothing(tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(url: str, file: io.BufferedWriter) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(cifar10, "download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cifar10.load(settings(tmp_path / "sets"))
    assert left_in(tmp_path / "sets") == {".cifar10.lock"}


def test_nothing_listens(tmp_path: Path, fake: Fake) -> None:
    text = message(settings(tmp_path / "sets", "http://127.0.0.1:1/cifar.tar.gz"))
    for part in (str(tmp_path / "sets"), "http://127.0.0.1:1/", "Connection refused", "data.url=", "data=shapes"):
        assert part in text


@pytest.mark.parametrize("failure", [status(503), status(429), breaks_off])
def test_a_failure_is_tried_again(failure: Behaviour, tmp_path: Path, server: Server) -> None:
    server.behaviours = [failure]
    assert len(cifar10.load(settings(tmp_path / "sets", server.url)).train) == 50
    assert len(server.ranges) == 2


def test_a_broken_download_goes_on_where_it_broke(tmp_path: Path, server: Server) -> None:
    server.behaviours = [breaks_off, rest]
    assert len(cifar10.load(settings(tmp_path / "sets", server.url)).train) == 50
    assert server.ranges == [None, "bytes=100-"]


def test_tries_are_counted_afresh_after_new_bytes(tmp_path: Path, server: Server) -> None:
    server.behaviours = [status(503), status(503), breaks_off, status(503), rest]
    assert len(cifar10.load(settings(tmp_path / "sets", server.url)).train) == 50


def test_a_server_that_never_gets_further_is_given_up(tmp_path: Path, server: Server) -> None:
    server.behaviours = [breaks_off] * 99
    assert f"ended after 100 of {len(server.content)} bytes" in message(settings(tmp_path / "sets", server.url))
    assert len(server.ranges) == 3


def test_a_file_that_the_server_lacks_is_not_asked_for_again(tmp_path: Path, server: Server) -> None:
    server.behaviours = [status(404)] * 9
    assert "404" in message(settings(tmp_path / "sets", server.url))
    assert len(server.ranges) == 1


@pytest.mark.parametrize("behaviour", [stalls, silent])
def test_a_stalled_server_is_given_up(
    behaviour: Behaviour, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "STALL", 0.2)
    server.behaviours = [behaviour] * 9
    began = time.monotonic()
    assert "timed out" in message(settings(tmp_path / "sets", server.url))
    assert time.monotonic() - began < 10
    assert left_in(tmp_path / "sets") == {".cifar10.lock"}


def test_no_further_try_when_patience_is_at_an_end(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PATIENCE", 0.0)
    server.behaviours = [status(503)] * 9
    message(settings(tmp_path / "sets", server.url))
    assert len(server.ranges) == 1


def test_a_slow_server_is_not_a_stalled_one(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(download, "STALL", 0.6)
    monkeypatch.setattr(download, "SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level(logging.INFO, "resexp")
    server.behaviours = [trickles]
    assert len(cifar10.load(settings(tmp_path / "sets", server.url)).train) == 50
    assert len(server.ranges) == 1
    assert f" of {len(server.content) / 1e6:.1f} MB" in caplog.text


IN_ANOTHER_PROCESS = """
import json, sys
from torchvision.datasets import CIFAR10
from resexp.config.settings import Cifar10Config
from resexp.data import cifar10
folder, url, patches = sys.argv[1:]
for name, value in json.loads(patches).items():
    setattr(CIFAR10, name, value)
print(len(cifar10.load(Cifar10Config("cifar10", folder, True, url, 0, 0)).train))
"""


def test_two_processes_fetch_once(tmp_path: Path, fake: Fake, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "resexp")
    server.behaviours = [waits]
    folder = tmp_path / "sets"
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(folder), server.url, json.dumps(fake.patches)]
    images: list[int] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        until(lambda: len(server.ranges) == 1)
        here = threading.Thread(target=lambda: images.append(len(cifar10.load(settings(folder, server.url)).train)))
        here.start()
        until(lambda: "waiting for another process" in caplog.text)
        server.go_on.set()
        here.join()
        output, _ = other.communicate(timeout=60)
    assert (output, images, len(server.ranges)) == ("50\n", [50], 1)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(
    not (OFFICIAL / "cifar-10-batches-py").is_dir(),
    reason=f"the official files are not in {OFFICIAL}; say where they are with RESEXP_DATA",
)
def test_the_official_files() -> None:
    data = cifar10.load(settings(OFFICIAL, download=False, validation=5000))
    assert data.validation is not None
    assert data.classes == CLASSES
    for split, each in ((data.train, 4500), (data.validation, 500), (data.test, 1000)):
        assert split.images.shape == (10 * each, 3, 32, 32)
        assert split.labels.bincount().tolist() == [each] * 10
    assert data.test.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    sums = [split.images.numpy().sum((0, 2, 3)) for split in (data.train, data.validation)]
    means = np.sum(sums, 0) / (50_000 * 32 * 32 * 255)
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)


def test_a_torchvision_of_another_torch_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("resexp.data.cifar10")
    monkeypatch.setitem(sys.modules, "resexp.data.cifar10", None)
    with pytest.raises(UserError, match=r"data=cifar10: torchvision does not fit torch .*; install both anew"):
        load(Cifar10Config("cifar10", None, False, None, 0, seed=0))

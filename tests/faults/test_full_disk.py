"""A full disk is said in one line, costs no checkpoint, and once there is room the run goes on as if never stopped."""

import builtins
import io
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY
from faulty import Outcome, at_runs, caught, finishes_as, outcome

from resexp.config.compose import compose
from resexp.config.settings import Config
from resexp.errors import UserError
from resexp.storage import checkpoint
from resexp.storage.run import Run
from resexp.training.train import train
from resexp.training.trainer import Trainer

FULL = Path("/dev/full")
KINDS = ["config.yaml", "run.json", "history.csv", "timing.csv", "checkpoint.pt", "events.out", "train.log"]

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here, which is a full disk")


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run that has ended undisturbed."""
    config = compose(*TINY, "checkpoint_seconds=0", f"runs={tmp_path_factory.mktemp('calm')}")
    train(config)
    return config


@pytest.fixture
def config(calm: Config, runs: Path) -> Config:
    return at_runs(calm, runs)


@pytest.fixture
def undisturbed(calm: Config) -> Outcome:
    return outcome(calm)


class Disk:
    """From `fill` on, every file whose name begins so is written to a full disk, as the kernel tells of one."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name, self.patch = name, monkeypatch

    def fill(self) -> None:
        real = io.open

        def full(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            wanted = isinstance(file, str | Path) and self.is_named(file) and mode[0] in "wa"
            return real(FULL if wanted else file, mode, *arguments, **named)

        self.patch.setattr(io, "open", full)
        self.patch.setattr(builtins, "open", full)

    def is_named(self, path: "str | Path") -> bool:
        """Whether a path is of the kind that fails."""
        return Path(path).name.removeprefix(".tmp-").startswith(self.name)


MOMENTS = [(kind, 0) for kind in KINDS] + [(kind, 7) for kind in KINDS if kind not in ("config.yaml", "train.log")]


@pytest.mark.parametrize(("kind", "iteration"), MOMENTS)
def test_each_kind_of_write(
    config: Config,
    undisturbed: Outcome,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    kind: str,
    iteration: int,
) -> None:
    run, advance = Run(config.directory), Trainer.advance

    def advance_until_full(self: Trainer) -> None:
        advance(self)
        if self.iteration == iteration:
            disk.fill()

    with monkeypatch.context() as patched:
        disk = Disk(kind, patched)
        patched.setattr(Trainer, "advance", advance_until_full)
        if iteration == 0:
            disk.fill()
        if kind == "train.log":  # a run goes on without it
            train(config)
            assert f"cannot write {run.log_file} ([Errno 28] No space left on device); going on" in caplog.text
        else:
            with pytest.raises(UserError) as refused:
                train(config)
            assert f"cannot write {run.directory / kind}" in str(refused.value)
            assert "No space left on device; free space or choose a folder with runs=PATH" in str(refused.value)
            assert "\n" not in str(refused.value)
            if iteration:
                assert checkpoint.load(run.checkpoint_file)["iteration"] in (6, 7)
    assert "Traceback" not in capfd.readouterr().err
    finishes_as(config, undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_with_little_room(
    calm: Config, undisturbed: Outcome, small_disk: Path, thorough: bool, caplog: pytest.LogCaptureFixture
) -> None:
    page, told = 4096, Counter[str]()
    needed = sum(-(-path.stat().st_size // page) for path in calm.directory.iterdir())
    for free in [*range(24), *range(24, needed, 24)] if thorough else [8, needed // 2]:  # pages
        config = at_runs(calm, small_disk / str(free))
        filler, room = small_disk / "filler", shutil.disk_usage(small_disk).free
        filler.write_bytes(bytes(room - free * page))
        caplog.clear()
        said = caught(config)
        if said:
            assert "No space left on device" in said
            assert "\n" not in said
        told[next((kind for kind in [*KINDS, "runs:"] if kind in said), "nothing")] += 1
        told["train.log"] += "going on without it" in caplog.text
        filler.unlink()
        finishes_as(config, undisturbed)
        shutil.rmtree(small_disk / str(free))
    count = sum(told.values()) - told["train.log"]
    print(f"full disk: {count} amounts of free space, all ended bit-identical; what could not be written: {dict(told)}")

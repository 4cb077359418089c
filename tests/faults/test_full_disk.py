"""A full disk is reported in one line, costs no checkpoint, and once there is space the run ends as if undisturbed."""

import builtins
import io
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty import Calm, after, at_runs, finishes_as, mounted, refusal, tried

from resexp.config.settings import Config
from resexp.storage import checkpoint
from resexp.storage.run import Run

FULL = Path("/dev/full")
KINDS = ["config.yaml", "run.json", "history.csv", "timing.csv", "checkpoint.pt", "events.out", "train.log"]
MOMENTS = [(kind, 0) for kind in KINDS] + [(kind, 7) for kind in KINDS if kind not in ("config.yaml", "train.log")]

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here, which is a full disk")


def fill_disk(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every file of this kind is written to a full disk, as the kernel reports one."""
    real = io.open

    def full(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        fails = (
            mode[0] in "wa" and isinstance(file, str | Path) and Path(file).name.removeprefix(".tmp-").startswith(kind)
        )
        return real(FULL if fails else file, mode, *arguments, **named)

    monkeypatch.setattr(io, "open", full)
    monkeypatch.setattr(builtins, "open", full)


@pytest.mark.parametrize(("kind", "iteration"), MOMENTS)
def test_each_kind_of_file_that_cannot_be_written_is_named(
    calm: Calm,
    disturbed: Config,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    kind: str,
    iteration: int,
) -> None:
    run = Run(disturbed.directory)
    with monkeypatch.context() as patched, after(iteration, lambda _: fill_disk(kind, patched)):
        if iteration == 0:
            fill_disk(kind, patched)
        line = refusal(disturbed)
        if kind == "train.log":  # a run does without it
            assert not line
            assert f"cannot write {run.log_file} ([Errno 28] No space left on device)" in caplog.text
        else:
            assert f"cannot write {run.directory / kind}" in line
            assert "No space left on device; free space or choose a folder with runs=PATH" in line
            if iteration:
                assert checkpoint.load(run.checkpoint_file)["iteration"] in (6, 7)
    assert "Traceback" not in capfd.readouterr().err
    finishes_as(disturbed, calm.outcome)
    tried("full disks", 1, f"full disk for {kind} from iteration {iteration} on: ended bit-identical")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    place = tmp_path / "small"
    place.mkdir()
    with mounted(place, "-t tmpfs -o size=2m tmpfs"):
        yield place


def test_a_disk_with_little_space(
    calm: Calm, small_disk: Path, thorough: bool, caplog: pytest.LogCaptureFixture
) -> None:
    page, failed = 4096, Counter[str]()
    needed = sum(-(-path.stat().st_size // page) for path in calm.config.directory.iterdir())
    amounts = [*range(24), *range(24, needed, 24)] if thorough else [8, needed // 2]  # pages
    for free in amounts:
        config = at_runs(calm.config, small_disk / str(free))
        filler = small_disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - free * page))
        caplog.clear()
        line = refusal(config)
        assert not line or "No space left on device" in line
        failed[next((kind for kind in [*KINDS, "runs:"] if kind in line), "nothing")] += 1
        failed["train.log"] += "cannot write" in caplog.text
        filler.unlink()
        finishes_as(config, calm.outcome)
        shutil.rmtree(small_disk / str(free))
    line = f"full disk: {len(amounts)} amounts of free space, all ended bit-identical; not written: {dict(failed)}"
    tried("full disks", len(amounts), line)

"""While runs are trained at once, one line tells how far all of them are."""

import os
import pty
import select
import sys
import termios
import time
from pathlib import Path

import pytest
from conftest import TINY, Here

from resexp.config.compose import compose
from resexp.config.settings import Config
from resexp.storage.run import Run
from resexp.storage.timing import HEADING, Line
from resexp.sweep import progress
from resexp.sweep.progress import SweepProgress


@pytest.fixture
def configs(tmp_path: Path) -> list[Config]:
    """Three runs of 12 iterations: one finished, one in the middle, one that starts over at the same place."""
    three = [compose(*TINY, f"seed={seed}", f"runs={tmp_path}", f"fresh={seed == 2}") for seed in range(3)]
    for config, at in zip(three, (12, 6, 6), strict=True):
        config.directory.mkdir(parents=True)
        reach(config, at)
    return three


def reach(config: Config, iteration: int) -> None:
    """A run whose last row ended at an iteration, just now."""
    Run(config.directory).timing_file.write_text(f"{HEADING}{Line(iteration, 1.0, 100.0)}")


def test_the_bar_of_a_sweep_fits_80_columns_and_begins_with_the_time_left(
    configs: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LOOKS", 0.02)
    time.sleep(0.05)  # for what lies there to be older than the sweep
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 80)) if sys.version_info >= (3, 11) else None
    monkeypatch.setenv("COLUMNS", "80")
    with os.fdopen(inner, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with SweepProgress(configs):
            time.sleep(0.1)
            reach(configs[1], 12)
            time.sleep(0.2)
            reach(configs[2], 9)
            time.sleep(0.2)
        written = b""
        while select.select([outer], [], [], 0.2)[0]:
            written += os.read(outer, 100_000)
    os.close(outer)
    lines = [line for line in written.decode().replace("\n", "\r").split("\r") if line.strip()]
    assert lines[0].startswith("sweep: ? left, 1 of 3 runs done, 50% |")
    assert any(line.startswith("sweep: 0s left, 2 of 3 runs done, 67% |") for line in lines)
    assert lines[-1].startswith("sweep: 0s left, 2 of 3 runs done, 92% |")
    assert max(map(len, lines)) <= 80


def test_elsewhere_runs_at_once_have_a_line_for_all_of_them(
    here: Here, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.02)
    caplog.set_level("INFO", "resexp")
    here("train", "-m", "hydra/launcher=streams", *TINY, "seed=0,1,2", "hydra.launcher.at_once=2")
    lines = [line for line in caplog.messages if line.startswith("sweep: ")]
    assert lines
    assert all(" left, " in line and line.endswith(" of 3 runs done") for line in lines)
    caplog.clear()
    here("train", "-m", *TINY, "seed=3,4")
    assert not [line for line in caplog.messages if line.startswith("sweep: ")]

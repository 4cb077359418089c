"""While runs are trained at once, one line tells how far all of them are."""

import os
import pty
import select
import sys
import termios
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import TINY, Here

from resexp.config.compose import compose
from resexp.config.settings import Config
from resexp.storage.run import Run
from resexp.storage.timing import HEADING, Line
from resexp.sweep import progress
from resexp.sweep.progress import SweepProgress
from resexp.system.files import write_text


@pytest.fixture
def configs(tmp_path: Path) -> list[Config]:
    """Three runs of 12 iterations: one finished, one in the middle, one that starts over at the same place."""
    three = [compose(*TINY, f"seed={seed}", f"runs={tmp_path}", f"fresh={seed == 2}") for seed in range(3)]
    for config, at in zip(three, (12, 6, 6), strict=True):
        config.directory.mkdir(parents=True)
        reach(config, at)
    return three


def reach(config: Config, *iterations: int) -> None:
    """A run whose last rows ended at these iterations, one each second."""
    lines = [str(Line(iteration, float(second), 100.0)) for second, iteration in enumerate(iterations)]
    write_text(Run(config.directory).timing_file, HEADING + "".join(lines))


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
        with SweepProgress(configs), ExitStack() as second:
            time.sleep(0.1)
            with Run(configs[1].directory).claimed():
                second.enter_context(Run(configs[2].directory).claimed())
                time.sleep(0.2)
                reach(configs[1], 6, 9)
                time.sleep(0.2)
                reach(configs[1], 6, 12)
                time.sleep(0.2)
            reach(configs[2], 3)
            time.sleep(0.2)
            second.close()  # before its end: it has failed
            time.sleep(0.2)
        written = b""
        while select.select([outer], [], [], 0.2)[0]:
            written += os.read(outer, 100_000)
    os.close(outer)
    bars = [line.partition("|")[0] for line in written.decode().replace("\n", "\r").split("\r") if line.strip()]
    assert list(dict.fromkeys(bars)) == [
        "sweep: ? left, 1 of 3 runs ended, 50% ",
        "sweep: 2s left, 1 of 3 runs ended, 58% ",  # 15 of 36 iterations at twice 3 a second
        "sweep: 2s left, 2 of 3 runs ended, 67% ",  # 12 at 6 a second
        "sweep: 2s left, 2 of 3 runs ended, 75% ",
        "sweep: 0s left, 3 of 3 runs ended, 100% ",
    ]
    assert max(map(len, written.decode().replace("\n", "\r").split("\r"))) <= 80


def test_a_launcher_that_disables_the_bars_of_its_runs_leaves_that_of_the_sweep(
    configs: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    outer, inner = pty.openpty()
    with os.fdopen(inner, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        shown = SweepProgress(configs)
    os.close(outer)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert (shown.no_bars, progress.no_bars()) == (False, True)


def test_a_run_that_is_alone_tells_of_itself(configs: list[Config], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LOOKS", 0.02)
    with SweepProgress(configs) as shown, Run(configs[1].directory).claimed():
        time.sleep(0.2)
    assert (shown.at_once, shown.bar) == (1, None)


def test_elsewhere_runs_at_once_have_a_line_for_all_of_them(
    here: Here, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LOOKS", 0.02)
    caplog.set_level("INFO", "resexp")
    here("train", "-m", "hydra/launcher=streams", *TINY, "recipe.iterations=48", "seed=0,1,2")
    lines = [line for line in caplog.messages if line.startswith("sweep: ")]
    assert lines
    assert all(" left, " in line and line.endswith(" of 3 runs ended") for line in lines)
    caplog.clear()
    here("train", "-m", *TINY, "seed=3,4")
    assert not [line for line in caplog.messages if line.startswith("sweep: ")]

"""What is seen while a run trains fits a terminal and says first how long it takes."""

import os
import pty
import select
import sys
import termios

import pytest

from resexp.storage.history import Row
from resexp.training import progress
from resexp.training.progress import Position, Progress

ROW = Row(100, 0.5, 0.1, 2.0, 0.251, 2.1, 0.295, None, None)


@pytest.mark.parametrize(
    ("position", "begins", "left"),
    [
        (Position(), "resnet56+l…h2 seed12: ? left, 0/64000", " left, 100/64000, train 25.1%, test 29.5% |"),
        (Position("12 of 27: ", 14.0), "12/27 resnet5…seed12: ? left, 0%", "m, 0%, train 25.1%, test 29.5%"),
    ],
)
def test_the_bar_fits_80_columns_and_begins_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, position: Position, begins: str, left: str
) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 80)) if sys.version_info >= (3, 11) else None
    monkeypatch.setenv("COLUMNS", "80")
    with os.fdopen(inner, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        shown = Progress("resnet56+lr0.05+shortcutB+width2 seed12", 0, 64000, position)
        shown.began -= 100
        for _ in range(100):
            shown.iteration()
        shown.row(ROW)
        shown.bar.refresh()
        shown.evaluating()
        shown.bar.close()
        written = b""
        while select.select([outer], [], [], 0.2)[0]:
            written += os.read(outer, 100_000)
    os.close(outer)
    lines = [line for line in written.decode().replace("\n", "\r").split("\r") if line.strip()]
    assert lines[0].startswith(begins)
    (row, *_) = [line for line in lines if "train" in line]
    assert left in row
    assert (" left, sweep " in row) == bool(position.label)
    assert "evaluating" in lines[-1]
    assert max(map(len, lines)) <= 80


def test_without_a_terminal_a_line_now_and_then_begins_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    caplog.set_level("INFO", "resexp")
    shown = Progress("plain56 seed0", 0, 64000, Position("2 of 4: ", 2.0))
    shown.row(ROW)
    shown.bar.close()
    (line,) = caplog.messages
    assert line.startswith("2 of 4: plain56 seed0: ")
    assert line.endswith(", 100 of 64,000 iterations, training error 25.1%, test error 29.5%")
    assert " left, sweep " in line

"""Standard streams that are closed, full, of another encoding, or a terminal: no traceback, no lost work, no tricks."""

import io
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from conftest import TINY

from resexp.formatting import printable
from resexp.storage.provenance import source_version
from resexp.storage.run import FINISHED, find_runs
from resexp.system.streams import Output, prepare_streams

COMMAND = f"{sys.executable} -m resexp"


def shell(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=folder, timeout=120, check=False)


def test_training_goes_on_where_nothing_can_be_said(tmp_path: Path) -> None:
    for seed, closed in enumerate((">&- 2>&- <&-", "2>/dev/full")):
        assert shell(f"{COMMAND} train {' '.join(TINY)} seed={seed} {closed}", tmp_path).returncode == 0
    assert [run.record().state for run in find_runs(tmp_path)] == [FINISHED] * 2
    done = shell(f"{COMMAND} status >/dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (1, "resexp: cannot write the output (No space left on device)\n")
    for command in ("--help", "status", "train --help", "models"):
        assert shell(f"{COMMAND} {command} | true", tmp_path).stderr == ""


def test_a_working_directory_that_is_gone_is_named(tmp_path: Path) -> None:
    done = shell(f"mkdir gone; cd gone; rmdir ../gone; {COMMAND} status", tmp_path)
    line = "resexp: the working directory is no longer there; change to another folder\n"
    assert (done.returncode, done.stderr) == (1, line)


def test_an_encoding_without_a_character_gets_the_next_best(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(buffer, encoding="ascii", write_through=True))
    prepare_streams()
    print("1.00 \u00b1 0.20 caf\u00e9")
    assert buffer.getvalue() == b"1.00 +- 0.20 caf\\xe9\n"


def test_what_a_terminal_would_obey_is_shown() -> None:
    stream = io.StringIO()
    print("a\x1b[2Jb\tc\u202ed \u00b1 \udcff", file=cast(io.StringIO, Output(stream)))
    assert stream.getvalue() == "a\\x1b[2Jb\tc\\u202ed \u00b1 \\udcff\n"
    for text in ("", "plain", "caf\u00e9 \u00a0 \U0001f469\u200d\U0001f467"):
        assert printable(text) == text


def test_git_may_answer_in_any_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(command: list[str], **_: object) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.CompletedProcess(command, 0, b"\xff\n")

    monkeypatch.setattr(subprocess, "run", answer)
    assert source_version() == {"commit": "\ufffd", "dirty": True}

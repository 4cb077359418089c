"""The benchmark measures what it says and tells it in ratios; how fast is not a test's business."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

TINY = ("--networks=plain20", "--device=cpu", "--threads=1", "--batch-size=4", "--images=40", "--window=2", "--turns=2")
Capture = pytest.CaptureFixture[str]
CHILD = """
import itertools, json, os, sys, time
os.setpgrp()
if os.fork() == 0:  # a worker
    while True:
        open("work", "a").write(".")
        time.sleep(0.01)
open("groups", "a").write(f"{os.getpid()} ")
told = {"iterations": 2, "images": 10, "mb": 7, "how": "eager", "digest": "d", "began": 100, "ended": 105}
for line in itertools.chain([""], sys.stdin):
    print(json.dumps(told), flush=True)
"""
REFUSED = """\
--networks=resnet57: choose from plain110, plain20
--measures=fast: choose from usual, resexp, bare
--depths=20: no line; name two depths or more
--engine=graph: for CUDA devices only, not cpu; use --engine=auto
--precision=int8: choose auto, fp32
--images=3: not one mini-batch; use --batch-size or more
--turns=0: must be 1 or more
--resume=True: out/bench.csv has other columns; name another --out
--out=file/out: cannot be written; name another folder"""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "scripts")
    monkeypatch.chdir(tmp_path)
    return import_module("benchmark")


def table(bench: Any, *options: str) -> str:
    """The bench.csv of a call with tiny sizes and these options."""
    bench.main([*TINY, "--out=out", *options])
    return Path("out/bench.csv").read_text()


def rows(comparison: str, side: str, *speeds: float, **more: object) -> list[dict[str, str]]:
    """Rows of bench.csv as far as a summary reads them, no two with the same seconds."""
    row = {"comparison": comparison, "side": side, "measured": 1, "seconds_startup": 2.5, "peak_memory_mb": 900}
    row |= {
        "how": "eager fp32",
        "digest": "d",
        "settings": "threads=1",
        "seconds_per_iteration": time.monotonic(),
        **more,
    }
    found = [row | {"turn": turn, "images_per_second": speed} for turn, speed in enumerate(speeds)]
    return [{name: str(value) for name, value in one.items()} for one in found]


def test_the_usual_loop_is_measured_and_written_down(bench: Any, capsys: Capture) -> None:
    first, second = csv.DictReader(StringIO(table(bench, "--measures=usual", "--repeats=1")))
    assert (first["side"], first["how"], first["turn"], second["turn"]) == ("usual", "eager fp32", "0", "1")
    assert min(float(first["images_per_second"]), float(first["seconds_startup"])) > 0
    assert int(first["peak_memory_mb"]) > 100
    summary = Path("out/summary.txt").read_text()
    assert re.search(r"  usual .* images/s, .* start-up .* MB\n\d+\.\d% of the cores' time was stolen", summary)
    assert capsys.readouterr().out == summary


@pytest.mark.parametrize(
    ("daemon", "told"), [("exit 0", " under MPS"), ("exit 1", " without MPS"), ("", " without MPS")]
)
def test_whether_processes_share_a_gpu_at_the_same_time_is_told(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, daemon: str, told: str
) -> None:
    if daemon:
        control = tmp_path / "nvidia-cuda-mps-control"
        control.write_text(f"#!/bin/sh\ngrep -q get_server_list\n{daemon}\n")
        control.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert bench.mps() == told
    assert ("no MPS daemon answers" in capsys.readouterr().err) == ("without" in told)


def test_operations_are_counted_without_timing(bench: Any, capsys: Capture) -> None:
    bench.main([*TINY, "--out=out", "--kernels", "--measures=usual,resexp", "--precisions=fp32,bf16"])
    told = re.findall(r"plain20 (\w+) (\w+): (\d+) operations; .*\b(\d+) convolution", capsys.readouterr().out)
    counts = {(precision, side): int(count) for precision, side, count, _ in told}
    assert {convolutions for *_, convolutions in told} == {"19"}
    assert counts["fp32", "resexp"] < counts["fp32", "usual"] < counts["bf16", "usual"]
    assert counts["bf16", "resexp"] - counts["fp32", "resexp"] == 45, "casts of weights, their gradients and images"
    assert not Path("out").exists()


@pytest.mark.parametrize("line", REFUSED.splitlines())
def test_what_cannot_be_measured_is_refused_in_one_line_and_nothing_is_lost(bench: Any, line: str) -> None:
    Path("file").touch()
    Path("out").mkdir()
    Path("out/bench.csv").write_text("older,columns\n1,2\n")
    with pytest.raises(SystemExit) as refused:
        table(bench, line.partition(":")[0].removesuffix("=True"))
    assert re.fullmatch(f"scripts/bench: {line}.*", str(refused.value))
    assert Path("out/bench.csv").read_text() == "older,columns\n1,2\n"


def test_a_benchmark_that_was_stopped_goes_on(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[list[str]] = []

    threads: dict[str, str] = {}

    def measure(sides: list[Any], turns: int) -> list[dict[str, str]]:
        done.append([one.side for one in sides])
        threads.update({one.side: one.settings.rpartition("threads=")[2] for one in sides if "at once" in one.side})
        if len(done) == 2:
            raise KeyboardInterrupt
        return [row for one in sides for row in rows(one.comparison, one.side, *[1.0] * turns, measured=len(done))]

    monkeypatch.setattr(bench, "measure", measure)
    asked = ("--together=1,4", "--threads=4", "--depths=20,32", "--repeats=2", "--resume")
    with pytest.raises(SystemExit, match="stopped; --resume goes on"):
        table(bench, *asked)
    kept, loops, beside, depths = Path("out/bench.csv").read_text(), *done, ["20", "32"]
    assert (loops, beside) == (["usual", "resexp", "bare"], ["1 at once", "4 at once"])
    assert threads == {"1 at once": "4", "4 at once": "1"}, "processes at once share the cores"
    whole = table(bench, *asked)
    assert done[2:] == [beside, depths, loops, beside, depths]
    assert whole.startswith(kept)
    assert table(bench, *asked) == whole


def test_a_side_trains_in_its_turns_only_and_nothing_is_left_of_it(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "__file__", "child.py")
    Path("child.py").write_text(CHILD)
    turns = bench.running(bench.Side("c", "2 at once", "plain20", 2, 2, ""), ".")
    for _ in range(2):
        turn = next(turns)
        assert (turn["images_per_second"], turn["seconds_per_iteration"], turn["peak_memory_mb"]) == (4.0, 2.5, 14)
    worked = [time.sleep(pause) or Path("work").stat().st_size for pause in (0.1, 0.2)]
    assert worked[0] == worked[1]  # the workers are stopped too
    turns.close()
    for group in Path("groups").read_text().split():
        with suppress(ProcessLookupError):
            os.killpg(int(group), signal.SIGCONT)
    time.sleep(0.2)
    assert Path("work").stat().st_size == worked[0]


def test_equal_runs_give_equal_bits(bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(os, "setpgrp", lambda: None)
    settings = "data=shapes data.image_size=32 data.train_images=40 recipe.batch_size=4 device=cpu threads=1"
    told: list[list[Any]] = []
    for name in ("resexp", "4 at once", "bare"):
        monkeypatch.setattr(sys, "stdin", StringIO("turn\n"))
        bench.train(bench.Side("c", name, "resnet32", 1, 3, settings))
        told.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert [one["images"] for one in told[0]] == [4, 8]  # one iteration, then of 32 layers 2 instead of 3 of 20
    own, beside, bare = [[one["digest"] for one in process] for process in told]
    assert own == beside != bare


def test_the_summary_compares_speeds_of_one_turn_bits_and_depths(bench: Any) -> None:
    found = rows("a", "usual", 50, 5, 20) + rows("a", "resexp", 100, 10, 60) + rows("a", "bare", 200)
    found += rows("a", "usual", 10, measured=2, seconds_startup=0.5)
    found += rows("b", "1 at once", 100) + rows("b", "4 at once", 250, digest="d e")
    found += rows("c", "1 at once", 9) + rows("c", "2 at once", 9)
    found += rows("d", "1 at once", 8, settings="threads=2") + rows("d", "2 at once", 12)
    for depth in (20, 110, 1202):
        found += rows("depths", str(depth), 1, seconds_per_iteration=0.5 + 0.01 * depth)
    text = "\n".join(bench.summary(found))
    assert "  usual     15.0 (8.8 to 27.5) images/s, eager fp32, start-up 2.5, 0.5 s, 900 MB" in text
    assert "  resexp/usual 2.00 (2.00 to 2.50)\n  resexp/bare 0.50 (0.50 to 0.50)" in text
    assert "  4 at once/1 at once 2.50 (2.50 to 2.50), weights not equal to the bit" in text
    assert "  2 at once/1 at once 1.00 (1.00 to 1.00), weights equal to the bit" in text
    assert "  2 at once/1 at once 1.50 (1.50 to 1.50)" in text, "sums of other threads have other bits"
    assert "0.500000 + 0.010000 * depth\n  intercept worth 50.0 layers\n  largest relative residual 0.0%" in text


def test_kernels_shows_what_an_iteration_consists_of() -> None:
    script = Path(__file__).parents[1] / "scripts" / "kernels.py"
    command = [sys.executable, script, "eager", "resnet20", "--device=cpu", "--precision=fp32"]
    command += ["--iterations=1", "--lines=1000", "model.depth=8", "data.image_size=8"]
    command += ["data.train_images=20", "recipe.batch_size=4"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    lines = done.stdout.splitlines()
    assert all(line.startswith("resnet20 eager fp32: ") for line in lines[:3])
    shares = {line.rpartition("  ")[2]: float(line.split()[4].rstrip("%")) for line in lines[4:]}
    assert shares["aten::convolution_backward"] > 0
    assert 90 < sum(shares.values()) < 110  # each is rounded

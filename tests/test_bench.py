"""The benchmark measures what it says, in a table that ends in ratios; how fast is not a test's business."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARK = ROOT / "scripts" / "benchmark"
COLUMNS = "network,measure,engine,precision,images_per_second_median,low,high,seconds_startup,peak_memory_mb"

ASKED = {
    "networks": ["resnet20"],
    "measures": ["usual", "resexp", "bare"],
    "engines": ["eager", "graph"],
    "precisions": ["fp32"],
    "depths": [],
    "together": [],
    "deterministic": False,
    "layouts": False,
    "device": "cpu",
    "batch_size": 100,
    "window": 10,
    "images": 500,
}


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARK)
    return import_module("table")


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARK)
    return import_module("measuring")


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARK)
    return import_module("processes")


def result(*speeds: float, **more: object) -> dict[str, Any]:
    """What one process gives in its turns."""
    known = {"engine": "eager", "precision": "fp32", "seconds_startup": 2.0, "peak_memory_mb": 9, "at": (0, 0)}
    return known | {"speeds": list(speeds)} | more


def test_the_benchmark_writes_its_table_and_its_ratios(tmp_path: Path) -> None:
    small = ["--networks", "plain20", "--repeats", "1", "--turns", "2", "--window", "3", "--together", "1,2"]
    small += ["--batch-size", "4", "--images", "40", "--device", "cpu"]
    command = [sys.executable, str(BENCHMARK), *small, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "bench.csv").read_text()
    assert written.startswith(COLUMNS)
    rows = list(csv.DictReader(written.splitlines()))
    assert [row["measure"] for row in rows] == ["usual", "resexp", "bare", "together", "together"]
    assert [row["processes"] for row in rows] == ["1", "1", "1", "1", "2"]
    for row in rows:
        low, median, high = (float(row[key]) for key in ("low", "images_per_second_median", "high"))
        assert 0 < low <= median <= high
        assert float(row["seconds_startup"]) > 0
        assert float(row["peak_memory_mb"]) > 100
    assert re.search(r"plain20 .* resexp/usual \d+\.\d\d \(.* to .*\), resexp/bare \d", done.stdout)
    assert ("of the cores' time" in done.stdout) == Path("/proc/stat").exists()
    assert "deterministic=false, 1, 2 at once: weights equal to the bit" in done.stdout
    assert (tmp_path / "summary.txt").read_text() in done.stdout
    assert (tmp_path / "bench.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (("--networks", "resnet57"), "model=resnet57: no such choice"),
        (("--engines", "eager,graph"), "engine=graph: for CUDA devices only"),
        (("--precisions", "int8"), "precision=int8: choose"),
        (("--measures", "usual,fast"), "--measures fast: choose from usual, resexp, bare"),
        (("--images", "100"), "--images 100: not one mini-batch; use 128 or more"),
        (("--turns", "0"), "argument --turns: '0' is not a whole number above 0"),
        (("--depths", "20,abc"), "argument --depths: 'abc' is not a whole number above 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line_and_costs_nothing_measured_before(
    tmp_path: Path, asked: tuple[str, ...], line: str
) -> None:
    kept = tmp_path / "measured.jsonl"
    kept.write_text("kept\n")
    command = [sys.executable, str(BENCHMARK), "--device", "cpu", *asked, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert line in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert kept.read_text() == "kept\n"
    assert list(tmp_path.iterdir()) == [kept]


def test_the_first_start_is_told_apart_from_those_with_a_warm_cache(table: Any) -> None:
    spec = {**ASKED, "network": "resnet20", "measure": "resexp", "layout": "channels_last"}
    spec |= {"deterministic": False, "processes": 1, "batch_size": 128}
    rows = [
        table.row(spec, [result(100, seconds_startup=seconds) for seconds in (90.0, 7.0, 9.0)]),
        table.row({**spec, "measure": "bare"}, [result(200)]),
    ]
    assert (rows[0]["seconds_first_startup"], rows[0]["seconds_startup"]) == (90, 8)
    assert (rows[1]["seconds_first_startup"], rows[1]["seconds_startup"]) == (2, 2)
    assert table.ratios(rows) == ["resnet20   eager fp32: resexp/bare 0.50 (0.50 to 0.50), start-up 90.0 s, then 8.0 s"]


def test_ratios_are_of_speeds_of_one_turn(table: Any) -> None:
    spec = {**ASKED, "network": "resnet20", "measure": "resexp", "layout": "channels_last"}
    spec |= {"deterministic": False, "processes": 1}
    own = [result(100, 10, 60), result(20, 200, 2, at=(1, 0)), result(999, 999, 999, at=(0, 4))]
    usual = [result(50, 5, 20), result(10, 100, 1, at=(1, 0))]
    rows = [table.row(spec, own), table.row({**spec, "measure": "usual"}, usual)]
    assert table.ratios(rows) == ["resnet20   eager fp32: resexp/usual 2.00 (2.00 to 2.00), start-up 2.0 s"]
    assert (rows[1]["low"], rows[1]["images_per_second_median"], rows[1]["high"]) == (6.2, 15, 42.5)


def test_what_is_compared_is_measured_in_turn(measuring: Any) -> None:
    names = ("network", "measure", "engine", "layout", "deterministic", "processes", "window")

    def planned(**asked: object) -> list[list[tuple[object, ...]]]:
        groups = measuring.plan(Namespace(**{**ASKED, **asked}))
        return [[tuple(spec[name] for name in names) for spec in group] for group in groups]

    def ordinary(engine: str) -> list[tuple[object, ...]]:
        own = [("resnet20", measure, engine, "channels_last", False, 1, 10) for measure in ("resexp", "bare")]
        return [("resnet20", "usual", "eager", "contiguous", False, 1, 10), *own]

    assert planned() == [ordinary("eager"), ordinary("graph")]
    prices = planned(deterministic=True, layouts=True)
    assert prices[0][3:] == [
        ("resnet20", "resexp", "eager", "channels_last", True, 1, 10),
        ("resnet20", "bare", "eager", "contiguous", False, 1, 10),
    ]
    assert prices[1] == ordinary("graph")
    deep = planned(depths=[20, 32, 110, 1202])[2]
    assert [one[0] for one in deep] == ["resnet20", "resnet32", "resnet110", "resnet1202"]
    assert [one[-1] for one in deep] == [10, 6, 2, 1]  # about as long, whatever the depth
    beside = planned(together=[1, 2], deterministic=True)[2:]
    assert [one[4:6] for one, *more in beside if not more] == [(False, 1), (False, 2), (True, 1), (True, 2)]


def test_a_benchmark_that_was_stopped_goes_on_with_what_is_missing(
    measuring: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def measure(group: list[dict[str, Any]], turns: int) -> list[dict[str, Any]]:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(group[0]["engine"])
        return [result(*[float(len(done))] * turns)]

    groups = measuring.plan(Namespace(**{**ASKED, "measures": ["bare"], "engines": ["eager", "graph", "compile"]}))
    kept = tmp_path / "measured.jsonl"
    monkeypatch.setattr(measuring, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        measuring.measure_all(groups, 2, 2, kept)
    kept.write_text(kept.read_text()[:-5])  # a group half written is measured again
    done.clear()
    with pytest.raises(KeyboardInterrupt):
        measuring.measure_all(groups, 2, 2, kept)
    assert done == ["compile", "eager", "graph"]
    done.clear()
    found = measuring.measure_all(groups, 2, 2, kept)
    assert done == ["compile"]
    speeds = [[one["speeds"] for one in results] for _, results in found]
    assert speeds == [[[1, 1], [2, 2]], [[2, 2], [3, 3]], [[1, 1], [1, 1]]]
    assert [one["at"] for one in found[1][1]] == [(0, 1), (1, 1)]


LOOP = """
import json, os, sys, time
os.setpgrp()
if os.fork() == 0:
    while True:
        time.sleep(0.01)  # a worker
while True:
    began = time.monotonic()
    time.sleep(0.05)
    print("something else", flush=True)
    print(json.dumps({"began": began, "speed": time.monotonic() - began}), flush=True)
"""


def wait_for_the_end_of(group: int) -> None:
    """Raises ProcessLookupError when a process group is no more."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        os.killpg(group, 0)
        time.sleep(0.05)


def test_a_loop_trains_in_its_turns_only(processes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOOPS", tmp_path / "loop.py")
    processes.LOOPS.write_text(LOOP)
    loop = processes.Loop({}, str(tmp_path))
    try:
        loop.window()
        loop.send(signal.SIGSTOP)
        time.sleep(0.5)
        began = time.monotonic()
        windows = loop.turn()
        assert len(windows) == processes.KEPT
        assert all(window["began"] > began and window["speed"] < 0.5 for window in windows)  # none holds the pause
        group = loop.process.pid
    finally:
        loop.end()
    with pytest.raises(ProcessLookupError):  # nor is its worker left
        wait_for_the_end_of(group)
    processes.LOOPS.write_text("raise SystemExit(3)")
    with pytest.raises(subprocess.CalledProcessError):
        processes.in_turn([{}], 2)


def test_several_processes_count_from_the_first_start_to_the_last_end(processes: Any) -> None:
    spec = {"iterations": 10, "batch_size": 50}
    times = [(100.0, 104.0), (101.0, 105.0)]
    results = [result(began=began, ended=ended, digest="same") for began, ended in times]
    merged = processes.merged(results, spec)
    assert (merged["speeds"], merged["peak_memory_mb"], merged["digests"]) == ([2 * 10 * 50 / 5], 18, ["same"])


@pytest.mark.parametrize(("digest", "outcome"), [("a", "equal to the bit"), ("b", "not equal")])
def test_bits_that_differ_beside_others_are_told(measuring: Any, digest: str, outcome: str) -> None:
    specs = [{"measure": "together", "deterministic": True, "processes": number} for number in (1, 2)]
    found = [[{"digests": ["a"]}], [{"digests": [digest]}]]
    lines = measuring.same_bits(list(zip(specs, found, strict=True)))
    assert lines == [f"deterministic=true, 1, 2 at once: weights {outcome}"]


def rows(table: Any, measuring: Any, speed: Callable[[dict[str, Any]], float], **asked: object) -> list[dict[str, Any]]:
    """A table with these images per second, everything else being equal."""
    groups = measuring.plan(Namespace(**{**ASKED, "engines": ["eager"], **asked}))
    return [table.row(spec, [result(speed(spec), at=(0, at))]) for at, group in enumerate(groups) for spec in group]


def test_seconds_against_depth_are_a_line_and_what_is_off_it(table: Any, measuring: Any) -> None:
    depths = [20, 32, 44, 1202]

    def speed(spec: dict[str, Any]) -> float:
        depth = int(spec["network"].removeprefix("resnet"))
        return 100 / (0.5 + 0.01 * depth) / (1.25 if depth == 1202 else 1)

    found = rows(table, measuring, speed, measures=[], depths=depths)
    elsewhere = result(1e6, at=(0, 7))  # a slower or faster moment of the machine says nothing about depth
    found[0] = table.row({**found[0], "batch_size": 100}, [*found[0]["results"], elsewhere])
    lines = table.depth_lines(found, depths)
    assert lines[0].startswith("seconds an iteration = 0.50")
    assert " + 0.0100" in lines[0]
    assert "intercept worth 50." in lines[1]
    assert float(lines[1].split()[-1].rstrip("%")) < 0.1
    assert lines[2] == "  depth 1202: +25.0% from that line"


def test_prices_are_ratios_to_the_same_row_without(table: Any, measuring: Any) -> None:
    def speed(spec: dict[str, Any]) -> float:
        slower = spec["deterministic"] or (spec["measure"], spec["layout"]) == ("bare", "contiguous")
        return (80 if slower else 100) * (2.5 if spec["processes"] == 4 else 1)

    found = rows(table, measuring, speed, deterministic=True, layouts=True)
    assert table.prices(found) == [
        "resnet20 resexp eager fp32 deterministic: 0.80 of the speed without",
        "resnet20 bare eager fp32 contiguous: 0.80 of the speed in channels_last",
    ]
    assert table.ratios(found) == ["resnet20   eager fp32: resexp/usual 1.00, resexp/bare 1.00, start-up 2.0 s"]
    json.dumps(found)  # plain values only
    several = rows(table, measuring, speed, measures=[], together=[1, 4], deterministic=True)
    assert table.together_lines(several)[1:3] == [
        "resnet20 4 at once eager fp32: 250 images/s, 62 each, 2.50 of one alone",
        "resnet20 1 at once eager fp32 deterministic: 80 images/s, 80 each, 1.00 of one alone",
    ]

"""The benchmark measures what it says, in a table that ends in ratios; how fast is not a test's business."""

import csv
import json
import subprocess
import sys
from argparse import Namespace
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
    "iterations": 40,
    "warm_up": 10,
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


def result(speed: float, **more: object) -> dict[str, Any]:
    """What one measurement gives."""
    return {"engine": "eager", "precision": "fp32", "speed": speed, "seconds_startup": 2.0, "peak_memory_mb": 9} | more


def test_the_benchmark_writes_its_table_and_its_ratios(tmp_path: Path) -> None:
    small = ["--networks", "plain20", "--repeats", "1", "--iterations", "2", "--warm-up", "1", "--together", "1,2"]
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
    usual, own, bare = (float(row["images_per_second_median"]) for row in rows[:3])
    assert f"resexp/usual {own / usual:.2f}, resexp/bare {own / bare:.2f}" in done.stdout
    assert "deterministic=false, 1, 2 at once: weights equal to the bit" in done.stdout
    assert (tmp_path / "summary.txt").read_text() in done.stdout
    assert (tmp_path / "bench.png").stat().st_size > 1000


def test_the_first_start_is_told_apart_from_those_with_a_warm_cache(table: Any) -> None:
    spec = {**ASKED, "network": "resnet20", "measure": "resexp", "layout": "channels_last"}
    spec |= {"deterministic": False, "processes": 1, "batch_size": 128}
    rows = [
        table.row(spec, [result(100, seconds_startup=seconds) for seconds in (90.0, 7.0, 9.0)]),
        table.row({**spec, "measure": "bare"}, [result(200)]),
    ]
    assert (rows[0]["seconds_first_startup"], rows[0]["seconds_startup"]) == (90, 8)
    assert (rows[1]["seconds_first_startup"], rows[1]["seconds_startup"]) == (2, 2)
    assert table.ratios(rows) == ["resnet20   eager fp32: resexp/bare 0.50, start-up 90.0 s, then 8.0 s"]


def test_what_is_asked_for_is_planned_once(measuring: Any) -> None:
    def planned(**asked: object) -> list[tuple[object, ...]]:
        names = ("network", "measure", "engine", "layout", "deterministic", "processes")
        return [tuple(spec[name] for name in names) for spec in measuring.plan(Namespace(**{**ASKED, **asked}))]

    ordinary = planned()
    assert ordinary == [
        ("resnet20", measure, engine, "channels_last", False, 1)
        for measure, engine in (
            ("usual", "eager"),
            ("resexp", "eager"),
            ("resexp", "graph"),
            ("bare", "eager"),
            ("bare", "graph"),
        )
    ]
    assert planned(deterministic=True, layouts=True)[len(ordinary) :] == [
        ("resnet20", "resexp", "eager", "channels_last", True, 1),
        ("resnet20", "bare", "eager", "contiguous", False, 1),
    ]
    assert [one[0] for one in planned(depths=[20, 32])[len(ordinary) :]] == ["resnet32"]  # resnet20 is there already
    beside = planned(together=[1, 2], deterministic=True)[-4:]
    assert [one[4:] for one in beside] == [(False, 1), (False, 2), (True, 1), (True, 2)]
    deep = measuring.plan(Namespace(**{**ASKED, "depths": [1202]}))[-1]
    assert (deep["network"], deep["iterations"]) == ("resnet1202", 10)


def test_a_benchmark_that_was_stopped_goes_on_with_what_is_missing(
    measuring: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def measure(spec: dict[str, Any]) -> dict[str, Any]:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(spec["measure"])
        return result(float(len(done)))

    specs = measuring.plan(Namespace(**{**ASKED, "engines": ["eager"]}))
    kept = tmp_path / "measured.jsonl"
    monkeypatch.setattr(measuring, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        measuring.measure_all(specs, 2, kept)
    kept.write_text(kept.read_text()[:-5])  # a figure half written is measured again
    done.clear()
    with pytest.raises(KeyboardInterrupt):
        measuring.measure_all(specs, 2, kept)
    assert done == ["bare", "usual", "resexp"]
    done.clear()
    found = measuring.measure_all(specs, 2, kept)
    assert done == ["bare"]
    assert [[one["speed"] for one in results] for results in found] == [[1, 2], [2, 3], [1, 1]]


def test_several_processes_count_from_the_first_start_to_the_last_end(measuring: Any) -> None:
    spec = {"iterations": 10, "batch_size": 50}
    times = [(100.0, 104.0), (101.0, 105.0)]
    results = [result(0.0, began=began, ended=ended, digest="same") for began, ended in times]
    merged = measuring.merged(results, spec)
    assert (merged["speed"], merged["peak_memory_mb"], merged["digests"]) == (2 * 10 * 50 / 5, 18, ["same"])


@pytest.mark.parametrize(("digest", "outcome"), [("a", "equal to the bit"), ("b", "not equal")])
def test_bits_that_differ_beside_others_are_told(measuring: Any, digest: str, outcome: str) -> None:
    specs = [{"measure": "together", "deterministic": True, "processes": number} for number in (1, 2)]
    found = [[{"digests": ["a"]}], [{"digests": [digest]}]]
    assert measuring.same_bits(specs, found) == [f"deterministic=true, 1, 2 at once: weights {outcome}"]


def rows(table: Any, measuring: Any, speeds: dict[str, float], **asked: object) -> list[dict[str, Any]]:
    """A table with these images per second by network, everything else being equal."""
    specs = measuring.plan(Namespace(**{**ASKED, "engines": ["eager"], **asked}))
    return [table.row(spec, [result(speeds[spec["network"]])]) for spec in specs]


def test_seconds_against_depth_are_a_line_and_what_is_off_it(table: Any, measuring: Any) -> None:
    depths = [20, 32, 44, 1202]
    speeds = {f"resnet{depth}": 100 / (0.5 + 0.01 * depth) for depth in depths}
    speeds["resnet1202"] /= 1.25
    lines = table.depth_lines(rows(table, measuring, speeds, depths=depths), depths)
    assert lines[0].startswith("seconds an iteration = 0.50")
    assert " + 0.0100" in lines[0]
    assert "intercept worth 50." in lines[1]
    assert float(lines[1].split()[-1].rstrip("%")) < 0.1
    assert lines[2] == "  depth 1202: +25.0% from that line"


def test_prices_are_ratios_to_the_same_row_without(table: Any, measuring: Any) -> None:
    found = rows(table, measuring, {"resnet20": 100.0}, deterministic=True, layouts=True)
    for row in found:
        if row["deterministic"] or row["layout"] == "contiguous":
            row["images_per_second_median"] = 80.0
    assert table.prices(found) == [
        "resnet20 resexp eager fp32 deterministic: 0.80 of the speed without",
        "resnet20 bare eager fp32 contiguous: 0.80 of the speed in channels_last",
    ]
    several = rows(table, measuring, {"resnet20": 100.0}, measures=[], together=[1, 4], deterministic=True)
    several[1]["images_per_second_median"] = 250.0
    assert table.together_lines(several)[1:3] == [
        "resnet20 4 at once eager fp32: 250 images/s, 62 each, 2.50 of one alone",
        "resnet20 1 at once eager fp32 deterministic: 100 images/s, 100 each, 1.00 of one alone",
    ]
    assert table.ratios(found) == ["resnet20   eager fp32: resexp/usual 1.00, resexp/bare 1.00, start-up 2.0 s"]
    json.dumps(found)  # plain values only

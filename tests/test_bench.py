"""The benchmark measures what it says, in a table that ends in ratios; how fast is not a test's business."""

import csv
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_benchmark_writes_its_table_and_its_ratios(tmp_path: Path) -> None:
    small = ["--networks", "plain20", "--repeats", "1", "--iterations", "2", "--warm-up", "1"]
    small += ["--batch-size", "4", "--images", "40", "--device", "cpu"]
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), *small, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "bench.csv").read_text().splitlines()))
    assert [row["measure"] for row in rows] == ["usual", "resexp", "bare"]
    for row in rows:
        low, median, high = (float(row[key]) for key in ("low", "images_per_second_median", "high"))
        assert 0 < low <= median <= high
        assert float(row["seconds_startup"]) > 0
        assert float(row["peak_memory_mb"]) > 100
    usual, own, bare = (float(row["images_per_second_median"]) for row in rows)
    assert f"resexp/usual {own / usual:.2f}, resexp/bare {own / bare:.2f}" in done.stdout
    assert (tmp_path / "bench.png").stat().st_size > 1000

"""`resexp status`: how far every run is, read from its files alone."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, Command, Here
from synthetic import Synthetic

from resexp.storage.provenance import this_process
from resexp.storage.run import FAILED, INTERRUPTED, RUNNING
from resexp.storage.timing import HEADING


@pytest.fixture
def study(tmp_path: Path) -> Synthetic:
    return Synthetic(tmp_path / "runs")


def statuses(here: Here) -> dict[str, dict[str, Any]]:
    return {one["run"]: one for one in json.loads(here("status", "json=true"))}


def test_each_run_is_a_line_with_progress_errors_and_times(here: Here, study: Synthetic) -> None:
    study.add("plain20", train=0.02, test=0.1, noise=0)
    half = study.add("plain56", state=INTERRUPTED)
    half.timing_file.write_text(HEADING + "31900,5000.0,2500.0\n32000,5010.0,2560.0\n")
    study.add("resnet20", state=FAILED, error="out of memory; use a smaller recipe.batch_size")
    printed = here("status").splitlines()
    cells = {line.split()[0]: line.split() for line in printed}
    assert cells["cifar10/paper/plain20/seed0"][1:7] == ["finished", "64,000", "of", "64,000", "2.00%", "10.00%"]
    assert cells["cifar10/paper/plain56/seed0"][1:5] == ["interrupted", "32,000", "of", "64,000"]
    assert "53m20s" in cells["cifar10/paper/plain56/seed0"]
    assert "2,560" in cells["cifar10/paper/plain56/seed0"]
    assert printed[-1] == "cifar10/paper/resnet20/seed0: out of memory; use a smaller recipe.batch_size"


def test_the_table_fits_100_columns_whatever_the_names(here: Here, tmp_path: Path) -> None:
    Synthetic(tmp_path / "runs" / (200 * "x"), recipe="short8").add("plain56")
    run = Synthetic(tmp_path / "runs").add("plain20", state=INTERRUPTED)
    run.timing_file.write_text(HEADING + "31900,5000.0,2500.0\n32000,905010.0,1234567.0\n")
    os.utime(run.timing_file, (0, 0))
    lines = here("status").splitlines()
    assert max(map(len, lines)) == 100
    assert lines[1] == "cifar10/paper/plain20"
    assert re.match(r"  seed0 +interrupted +32,000 of 64,000 ", lines[2])
    assert re.fullmatch(r"x{50}…x*/cifar10/short8/plain56", lines[3])
    assert re.match(r"  seed0 +finished ", lines[4])


def test_a_run_whose_process_has_died_is_found(here: Here, study: Synthetic) -> None:
    study.add("plain20", state=RUNNING, process=this_process())
    study.add("plain56", state=RUNNING, process={"host": "another", "pid": 1})
    held = study.add("resnet20", state=RUNNING, process=this_process())
    with held.claimed():
        states = {name: one["state"] for name, one in statuses(here).items()}
    assert states == {
        "cifar10/paper/plain20/seed0": "died",
        "cifar10/paper/plain56/seed0": "elsewhere",
        "cifar10/paper/resnet20/seed0": "running",
    }


def test_a_killed_run_is_found(here: Here, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "resexp", "train", *TINY, "recipe.iterations=100000", "recipe.drops=[]"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, env=os.environ) as process:
        while not list(tmp_path.rglob("history.csv")):
            assert process.poll() is None
        (one,) = statuses(here).values()
        assert one["state"] == RUNNING
        process.kill()
        process.wait()
    (one,) = statuses(here).values()
    assert one["state"] == "died"


def test_programs_get_fractions_and_seconds(here: Here, study: Synthetic) -> None:
    study.add("plain20", train=0.02, test=0.1)
    half = study.add("plain56", state=INTERRUPTED)
    half.timing_file.write_text(HEADING + "32000,5010.0,2560.0\n")
    os.utime(half.timing_file, (0, 2**33))  # a clock that was put back
    one = statuses(here)["cifar10/paper/plain20/seed0"]
    assert one["train_error"] == pytest.approx(0.02, abs=0.002)
    assert one["test_error"] == 0.1
    assert one["seconds_left"] is None
    assert statuses(here)["cifar10/paper/plain56/seed0"]["seconds_since_row"] == 0


def test_a_damaged_run_is_named_and_the_others_are_shown(status_of_damage: Here, study: Synthetic) -> None:
    study.add("plain20")
    run = study.add("plain56")
    run.record_file.write_text("{")
    printed = status_of_damage()
    assert printed.splitlines()[-1] == "1 of 2 runs damaged"
    assert "cifar10/paper/plain56/seed0: runs/cifar10/paper/plain56/seed0/run.json is damaged" in printed
    assert "cifar10/paper/plain20/seed0" in printed


def test_programs_get_all_of_a_folder_with_a_damaged_run_and_a_status(resexp: Command, study: Synthetic) -> None:
    study.add("plain20")
    study.add("plain56").record_file.write_text("{")
    done = resexp("status", "json=true")
    assert {one["state"] for one in json.loads(done.stdout)} == {"finished", "damaged"}
    assert (done.returncode, done.stderr) == (1, "resexp: 1 of 2 runs damaged\n")


def test_seeds_stand_in_the_order_of_their_numbers(here: Here, study: Synthetic) -> None:
    for seed in (10, 2, 0):
        study.add("plain20", seed)
    assert [name.rpartition("/")[2] for name in statuses(here)] == ["seed0", "seed2", "seed10"]


def test_an_empty_folder_is_an_empty_list_for_programs(here: Here) -> None:
    assert json.loads(here("status", "json=true")) == []

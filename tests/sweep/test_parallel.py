"""Several runs at once give what they give one after another, and a signal to the command reaches them all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TINY, Command, Here, assert_interrupted
from hydra.errors import MissingConfigException

from resexp.config.compose import compose, explain_composition
from resexp.errors import UserError
from resexp.storage.run import FINISHED, RUNNING, Run, find_runs
from resexp.system.machine import WORKER, claim_worker_number, worker_number

pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs resexp[parallel]")

AT_ONCE = ("train", "-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *TINY, "threads=0")


def test_runs_at_once_give_the_bytes_of_runs_one_after_another(resexp: Command, here: Here, tmp_path: Path) -> None:
    here("train", "-m", *TINY, "recipe.batch_size=10,15", "runs=serial")
    here("train", *TINY, "recipe.batch_size=20")
    with Run(tmp_path / compose(*TINY, "recipe.batch_size=12").directory).claimed():
        done = resexp(*AT_ONCE, "recipe.batch_size=20,97,12,10,15", env={"OMP_NUM_THREADS": "2"})
    assert done.returncode == 1
    table = done.stderr.splitlines()[-6:]
    assert table[-1] == "resexp: 1 of 5 runs failed; the same command tries them again"
    words = ("finished before", "failed: recipe", "busy: ", "finished, ", "finished, ")
    assert all(f"  {became}" in line for line, became in zip(table, words, strict=False))
    trained = [run for run in find_runs(tmp_path / "runs") if run.record().state == FINISHED]
    serial = find_runs(tmp_path / "serial")
    assert (len(trained), len(serial)) == (3, 2)
    for run in serial:
        other = Run(tmp_path / "runs" / run.directory.relative_to(tmp_path / "serial"))
        assert other.history_file.read_bytes() == run.history_file.read_bytes()
        (session,) = other.record().sessions
        assert session["threads"] == 1, "two threads were to be divided among two runs"


def test_each_process_has_its_share_of_the_machine_to_train_and_to_compile(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[dict[str, str]] = []

    def noted(task: object, environment: dict[str, str], *_: object) -> None:
        shares.append(environment)
        raise UserError("enough")

    monkeypatch.setattr("resexp.sweep.parallel.Worker", noted)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    with pytest.raises(UserError, match="enough"):
        here(*AT_ONCE, "seed=0,1")
    assert {shares[0][name] for name in ("OMP_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS")} == {"4"}


def started(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start a sweep of runs at once in a process of its own, with its runs below a folder."""
    command = [sys.executable, "-m", "resexp", *AT_ONCE, *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder)


def test_a_signal_lets_every_run_save(tmp_path: Path) -> None:
    process = started(tmp_path, "recipe.iterations=1000000", "seed=0,1,2")
    while sum(path.read_text().count("\n") > 1 for path in tmp_path.rglob("history.csv")) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    # A terminal's Ctrl-C reaches the workers, too, `kill` only the command: here one worker has it twice, one once.
    os.kill(find_runs(tmp_path)[0].record().process["pid"], signal.SIGINT)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGINT
    assert output.count("  interrupted: stopped by signal") == 2
    assert output.count("  not started: stopped by signal") == 1
    assert "Traceback" not in output
    runs = find_runs(tmp_path)
    assert len(runs) == 2
    assert_interrupted(runs)


def test_a_worker_that_is_killed_leaves_a_table_and_the_runs_that_were_finished(tmp_path: Path) -> None:
    process = started(tmp_path, "recipe.iterations=12,1000000")
    states: list[str] = []
    while sorted(states) != [FINISHED, RUNNING]:
        assert process.poll() is None
        time.sleep(0.05)
        states = [run.record().state for run in find_runs(tmp_path) if run.record_file.exists()]
    (running,) = [run for run in find_runs(tmp_path) if run.record().state == RUNNING]
    os.kill(running.record().process["pid"], signal.SIGKILL)
    lines = process.communicate(timeout=120)[1].splitlines()
    assert process.returncode == 1
    end = lines.index("resexp: 1 of 2 runs failed; the same command tries them again")  # joblib may complain after it
    assert "  finished, training error " in lines[end - 2]
    assert "  failed: a process that trained was killed" in lines[end - 1]


def test_workers_at_the_same_time_have_numbers_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKER, "0")
    numbers: list[int] = []
    for _ in range(3):
        claim_worker_number(tmp_path)
        numbers.append(worker_number())
    assert numbers == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["-m", "hydra.launcher.n_jobs=0"], r"hydra\.launcher\.n_jobs=0: a number of runs"),
        ([], r"hydra/launcher=joblib: .* add -m"),
    ],
)
def test_a_launcher_that_cannot_be_used_so_is_refused(here: Here, arguments: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        here("train", *arguments, *TINY, "hydra/launcher=joblib")


def test_a_launcher_that_is_not_installed_is_named_with_the_extra_that_brings_it() -> None:
    error = MissingConfigException("", missing_cfg_file="hydra/launcher/joblib", options=["basic"])
    assert explain_composition(error) == (
        "hydra/launcher=joblib: not installed; in a checkout, pip install -e '.[parallel]'"
    )

"""A sweep goes through a real Slurm: disturbed in every way that Slurm has, it ends with the bytes of a local one."""

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import TINY, Here
from hydra.core.utils import JobReturn

from resexp.errors import Interrupted, UserError

SCRIPT = Path(__file__).parents[2] / "scripts" / "slurm_local.py"


def test_a_disturbed_sweep_in_slurm_ends_with_the_bytes_of_a_local_one() -> None:
    if reason := runpy.run_path(str(SCRIPT))["cannot_run"]():
        pytest.skip(reason)
    pytest.importorskip("submitit", reason="needs resexp[slurm]")
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 history.csv are equal" in done.stdout
    assert "all that was started is stopped" in done.stdout


@pytest.mark.parametrize(("status", "ends_with"), [(-signal.SIGTERM, SystemExit), (1, subprocess.CalledProcessError)])
def test_a_job_whose_time_is_up_fails_where_it_cannot_be_requeued_and_not_where_requeuing_stops_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, ends_with: type[BaseException]
) -> None:
    pytest.importorskip("submitit", reason="needs resexp[slurm]")
    from resexp.sweep import slurm

    def requeue(*_: object) -> None:
        raise subprocess.CalledProcessError(status, ["scontrol", "requeue", "1_1"])

    def run(*_: object) -> JobReturn:
        os.kill(os.getpid(), signal.SIGUSR2)
        return JobReturn(_return_value=SimpleNamespace(error=Interrupted(signal.SIGUSR2)))

    paths = SimpleNamespace(paths=SimpleNamespace(folder=tmp_path))
    monkeypatch.setattr(slurm.submitit, "JobEnvironment", lambda: paths)
    monkeypatch.setattr(slurm.submitit_launcher.SlurmLauncher, "__call__", run)
    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        with pytest.raises(ends_with):
            slurm.SlurmLauncher.__call__(slurm.SlurmLauncher.__new__(slurm.SlurmLauncher), [])
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_launcher_without_its_extra_is_named_with_the_extra(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "resexp.sweep.slurm", raising=False)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"slurm_gpu: not installed; in a checkout, pip install -e '\.\[slurm\]'"):
        here("train", "-m", *TINY, "hydra/launcher=slurm_gpu")


def test_a_machine_without_slurm_is_named_as_such(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="needs resexp[slurm]")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"hydra/launcher: Slurm does not take the runs: .*srun"):
        here("train", "-m", *TINY, "hydra/launcher=slurm")

"""A sweep goes through a real Slurm: disturbed in every way that Slurm has, it ends with the bytes of a local one."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import TINY, Here

from resexp.errors import UserError

SCRIPT = Path(__file__).parents[2] / "scripts" / "slurm_local.py"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("slurm_local", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_disturbed_sweep_in_slurm_ends_with_the_bytes_of_a_local_one() -> None:
    if reason := script().cannot_run():
        pytest.skip(reason)
    pytest.importorskip("submitit", reason="needs resexp[slurm]")
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 history.csv are equal" in done.stdout
    assert "all that was started is stopped" in done.stdout


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

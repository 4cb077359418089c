"""Memory is estimated before it is taken."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY

from resexp.config.compose import compose
from resexp.errors import UserError
from resexp.model.cost import memory
from resexp.system import memory as system


def test_what_is_needed_grows_with_what_is_named() -> None:
    def needed(*settings: str, on_cpu: bool = True) -> int:
        return sum(memory(compose(*TINY, *settings), on_cpu).values())

    assert needed() < 20_000_000
    for setting in ("recipe.batch_size=90", "model.depth=20", "model.width=4", "data.image_size=64", "recipe.pad=64"):
        assert needed(setting) > needed()
    assert needed(on_cpu=False) < needed()
    assert needed("precision=bf16") < needed("precision=fp32")


def test_the_smaller_of_machine_and_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"MEMINFO": "MemTotal: 9 kB\nMemAvailable:  5000 kB\n", "LIMIT": "3000000\n"}
    for name in files:
        monkeypatch.setattr(system, name, tmp_path / name)
    assert system.available() is None
    system.require_memory({"everything": 10**20})
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert system.available() == 3_000_000
    (tmp_path / "LIMIT").write_text("max\n")
    assert system.available() == 5_120_000
    system.require_memory({"x": 5_000_000})
    with pytest.raises(UserError, match=r"this needs about 6\.0 MB of memory, 5\.1 MB are there; lower y"):
        system.require_memory({"x": 1_000_000, "y": 5_000_000})


@pytest.mark.parametrize(
    ("count", "shown"), [(5.12e6, "5.1 MB"), (3.8e12, "3.8 TB"), (24e9, "24.0 GB"), (1e30, "over 1,000 PB")]
)
def test_sizes_in_words(count: float, shown: str) -> None:
    assert system.size(count) == shown


def test_what_is_imported_for_good_is_never_looked_through() -> None:
    program = """
import gc, sys
from resexp.config.compose import compose
from resexp.training.importing import import_training
config = compose("data=shapes")
assert "torch" not in sys.modules
import_training(config)
assert "torch" in sys.modules and gc.isenabled()
print(gc.get_freeze_count() > 50_000, len(gc.get_objects()) < 50_000)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]

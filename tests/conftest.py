"""What several tests share: a run small enough for a test, and the installed command."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from hydra.core.global_hydra import GlobalHydra
from synthetic import Synthetic

from resexp import cli
from resexp.errors import UserError
from resexp.storage.run import INTERRUPTED, Run

TINY = (
    "data=shapes",
    "data.train_images=96",
    "data.test_images=40",
    "data.image_size=8",
    "recipe=quick",
    "recipe.iterations=12",
    "recipe.batch_size=20",
    "recipe.drops=[6,10]",
    "recipe.row_every=2",
    "recipe.evaluate_every=4",
    "model.depth=8",
    "device=cpu",
    "threads=1",
)
"""Settings of a run of a second: overrides of `resexp train`."""

pytest_plugins = ["faulty"]
hypothesis.settings.register_profile("resexp", deadline=None, max_examples=30)
hypothesis.settings.load_profile("resexp")

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Here = Callable[..., str]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="fault tests at full length, as scripts/faults runs them")


@pytest.fixture(scope="session")
def thorough(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--thorough"))


def assert_interrupted(runs: list[Run]) -> None:
    """Each run was stopped, saved, and let go."""
    for run in runs:
        assert run.record().state == INTERRUPTED
        assert run.record().iteration > 0
        assert run.checkpoint_file.exists()
        assert not run.in_use()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def short(runs: Path) -> Synthetic:
    """Runs of a shortened schedule, to be added."""
    return Synthetic(runs, "cifar10", "short32")


@pytest.fixture
def tiny(runs: Path) -> tuple[str, ...]:
    return (*TINY, f"runs={runs}")


@pytest.fixture
def resexp(tmp_path: Path) -> Command:
    """Run `resexp ARGUMENTS` as a user would, in a folder of its own."""

    def call(*arguments: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "resexp", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            timeout=300,
            check=False,
        )

    return call


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    """Undo what a command leaves in a process that it takes for its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    GlobalHydra.instance().clear()
    log = logging.getLogger("resexp")
    log.handlers.clear()
    log.setLevel(logging.NOTSET)
    log.propagate = True


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Here:
    """Run a command line in this process and return all that it printed. Raises what it would print as its one line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["resexp", *arguments])
        cli.dispatch(list(arguments))
        out, err = capfd.readouterr()
        return out + err

    return call


@pytest.fixture
def status_of_damage(here: Here, capfd: pytest.CaptureFixture[str]) -> Here:
    """What `resexp status` prints of a folder where runs are damaged, which it ends with an error for."""

    def call(*arguments: str) -> str:
        with pytest.raises(UserError, match=r"^\d+ of \d+ runs? damaged$") as error:
            here("status", *arguments)
        return f"{capfd.readouterr().out}{error.value}"

    return call

"""Commands that only read runs, killed before any change of a file: repeated, they end as if nothing had happened."""

import random
import shutil
import signal
from pathlib import Path

import pytest
from conftest import TINY, Here
from faulty import Calm, command, tried
from hydra.core.global_hydra import GlobalHydra

from resexp.config.compose import compose
from resexp.training.train import train

COMPUTING = ("device=cpu", "threads=1")
COMMANDS = {
    "report": (),
    "collect": ("name=tiny",),
    "export": COMPUTING,
    "diagnose": ("responses", *COMPUTING),
}
TIMED = "responses.json"
"""Holds the seconds that measuring took: one of a repeated command is another."""


@pytest.fixture(scope="module")
def study(calm: Calm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs by two recipes, of which one was long enough to learn something, and a diagnosis of them."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(calm.config.runs, folder / "runs")
    longer = ("recipe.iterations=60", "recipe.drops=[50]", "recipe.lr=0.05")
    for name in ("plain20", "resnet20"):
        train(compose(*TINY, *longer, f"model={name}", f"runs={folder}/runs"))
    GlobalHydra.instance().clear()
    words = ("diagnose", "lesions", "lesion_images=16", f"runs={folder}/runs", f"out={folder}/out", *COMPUTING)
    process = command(*words, output=folder / "output")
    process.join()
    assert process.exitcode == 0, (folder / "output").read_text()
    return folder / "runs"


def tree(folder: Path) -> dict[str, bytes]:
    """What the files below a folder hold, so far as it does not depend on time."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): b"" if path.name == TIMED else path.read_bytes() for path in files}


@pytest.mark.parametrize("verb", COMMANDS)
def test_killed_before_any_change_of_a_file(study: Path, verb: str, here: Here, tmp_path: Path, thorough: bool) -> None:
    output = tmp_path / "output"

    def begun(name: str, die_before: int = 0) -> tuple[Path, list[str], int | None]:
        """The command in a folder of its own: that folder, its words and its status."""
        folder = tmp_path / name
        shutil.copytree(study, folder / "runs")
        words = [verb, *COMMANDS[verb], f"runs={folder}/runs", f"out={folder}/out"]
        process = command(*words, output=output, folder=folder, die_before=die_before)
        process.join()
        return folder, words, process.exitcode

    calm, _, status = begun("calm")
    assert status == 0, output.read_text()
    changes, expected = int(output.read_text().splitlines()[-1]), tree(calm)
    assert expected.items() >= {f"runs/{name}": content for name, content in tree(study).items()}.items()
    numbers = range(1, changes + 1) if thorough else random.Random(verb).sample(range(1, changes + 1), 2)
    halves = 0
    for number in numbers:
        folder, words, status = begun(str(number), number)
        assert status == -signal.SIGKILL
        halves += any(name.rpartition("/")[2].startswith(".tmp-") for name in tree(folder))
        here(*words)
        assert tree(folder) == expected
        shutil.rmtree(folder)
    places = f"{len(numbers)} of the {changes} places before it changes a file"
    line = f"{verb} killed at {places}: {halves} with a temporary file, all ended with the same bytes"
    tried("killed commands", len(numbers), line)

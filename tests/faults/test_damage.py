"""Whatever happens to a file of a run: it recovers, or it is refused by the file's name; no wrong number is told."""

import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import TINY, Here
from faulty import Outcome, at_runs, caught, copied, finishes_as, interrupt, outcome

from resexp.analysis.study import load_study
from resexp.config.compose import compose
from resexp.config.settings import Config
from resexp.errors import UserError
from resexp.storage.run import Run
from resexp.training.train import train

FILES = [
    "config.yaml",
    "run.json",
    "history.csv",
    "timing.csv",
    "checkpoint.pt",
    "checkpoint.previous.pt",
    "events.out.tfevents*",
    "train.log",
    ".lock",
]


def delete(path: Path, chance: random.Random) -> None:
    path.unlink()


def empty(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def cut_in_half(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path, chance: random.Random) -> None:
    """Anywhere."""
    content = bytearray(path.read_bytes())
    if content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)


def change_a_digit(path: Path, chance: random.Random) -> None:
    """The bit flip that nobody sees: of a digit, into another."""
    content = bytearray(path.read_bytes())
    digits = [at for at, byte in enumerate(content) if byte in b"01234567"]
    if digits:
        content[chance.choice(digits)] ^= 1
        path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "deleted": delete,
    "emptied": empty,
    "cut in half": cut_in_half,
    "bit flipped": flip_a_bit,
    "digit changed": change_a_digit,
}
REPEATS = {"bit flipped": 3, "digit changed": 6}
"""How often a thorough test does what has many ways; once else."""


@dataclass
class Known:
    """What is true of a run: what it ends as, and what report and evaluate may say of it."""

    config: Config
    undisturbed: Outcome
    reported: str
    evaluated: set[str]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Config]:
    """A finished and an interrupted run, each with two checkpoints."""
    folder = tmp_path_factory.mktemp("originals")
    finished = compose(*TINY, "checkpoint_seconds=0", f"runs={folder / 'finished'}")
    train(finished)
    interrupted = at_runs(finished, folder / "interrupted")
    interrupt(interrupted, 7)
    return {"finished": finished, "interrupted": interrupted}


def reported(runs: Path) -> tuple[str, list[str]]:
    """All that a report could be made of, and its problems."""
    study = load_study(runs)
    runs_told = [run for group in study.groups for network in group.networks for run in network.runs]
    told = [(run.labels, run.result, run.state, run.reached, run.rows, run.record.final) for run in runs_told]
    return str(told), study.problems


def evaluated(here: Here, run: Run) -> str:
    """The line of `resexp evaluate`, or the one that refuses."""
    try:
        said = here("evaluate", f"run={run.directory}", "device=cpu")
    except UserError as error:
        return str(error)
    return next(line for line in said.splitlines() if " error " in line)


@pytest.fixture
def known(originals: dict[str, Config], state: str, here: Here, runs: Path) -> Known:
    config = originals[state]
    run = Run(config.directory)
    lines = {evaluated(here, run)}
    copy = Run(copied(config, runs).directory)
    copy.checkpoint_file.unlink()
    lines.add(evaluated(here, copy))  # the checkpoint before, which says its iteration
    return Known(config, outcome(originals["finished"]), reported(Path(config.runs))[0], lines)


@pytest.mark.parametrize("state", ["interrupted", "finished"])
def test_each_file_damaged_in_each_way(known: Known, state: str, here: Here, runs: Path, thorough: bool) -> None:
    chance = random.Random(0)
    became: Counter[str] = Counter()
    for name in FILES:
        for damage in DAMAGES if thorough else chance.sample(list(DAMAGES), 2):
            for _ in range(REPEATS.get(damage, 1) if thorough else 1):
                config = copied(known.config, runs)
                (path,) = config.directory.glob(name)
                DAMAGES[damage](path, chance)
                became[check(known, config, path, here)] += 1
    print(f"a file of the {state} run damaged in {sum(became.values())} ways: {dict(became)}")


def check(known: Known, config: Config, path: Path, here: Here) -> str:
    """What the three verbs make of a damaged run: truth, or a line that names the file."""
    run = Run(config.directory)
    told, problems = reported(Path(config.runs))
    if told != known.reported:
        assert told == "[]", path
        assert str(path) in " ".join(problems)
    line = evaluated(here, run)
    if line not in known.evaluated:
        assert path.name in line
    said = caught(config)
    if said:
        assert path.name in said
        assert "\n" not in said
        return "refused by name"
    if known.config.runs.endswith("finished") and path.name.startswith(("checkpoint", "events")):
        assert run.history_file.read_bytes() == known.undisturbed[0]
        return "left as it is, being finished"  # evaluate has told of the checkpoint, TensorBoard has checks of its own
    finishes_as(config, known.undisturbed)
    return "ended bit-identical"


def test_the_commands_say_it_in_one_line(originals: dict[str, Config], here: Here, runs: Path) -> None:
    config = copied(originals["finished"], runs)
    run = Run(config.directory)
    change = run.config_file.read_text()
    run.config_file.write_text(re.sub(r"lr: 0\.01", "lr: 0.03", change))
    for arguments in (
        ("train", *TINY, "checkpoint_seconds=0", f"runs={runs}"),
        ("report", f"runs={runs}"),
        ("evaluate", f"run={run}", "device=cpu"),
    ):
        with pytest.raises(UserError, match=r"config\.yaml is damaged or was edited; train it again with fresh=true"):
            here(*arguments)

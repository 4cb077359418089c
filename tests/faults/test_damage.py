"""Whatever happens to a file of a run: it recovers, or it is refused by the file's name; no wrong number is shown."""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Here
from faulty import SHORT, Calm, copied, finishes_as, interrupt, refusal, tried

from resexp.analysis.study import load_study
from resexp.config.settings import Config
from resexp.errors import UserError
from resexp.storage.run import Run

FILES = [
    *("config.yaml", "run.json", "history.csv", "timing.csv", "checkpoint.pt", "checkpoint.previous.pt"),
    *("events.out.tfevents*", "train.log", ".lock"),
]
DAMAGES = {"deleted": 1, "emptied": 1, "cut in half": 1, "bit flipped": 3, "digit changed": 6}
"""And how often a thorough test does each; once else."""


def damaged(content: bytes, how: str, chance: random.Random) -> bytes | None:
    """What is left of a file; None where it is deleted."""
    if how in ("deleted", "emptied"):
        return None if how == "deleted" else b""
    if how == "cut in half":
        return content[: len(content) // 2]
    places, bit = range(len(content)), 1 << chance.randrange(8)
    if how == "digit changed":  # into another: the flipped bit that nobody sees
        places, bit = [at for at in places if content[at] in b"01234567"], 1
    if not places:
        return content
    at = chance.choice(places)
    return content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]


@dataclass
class Known:
    """What is true of a run: what report and evaluate may say of it."""

    config: Config
    reported: str
    evaluated: set[str]


@pytest.fixture(scope="module")
def originals(calm: Calm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Config]:
    """A finished and an interrupted run, each with two checkpoints."""
    folder = tmp_path_factory.mktemp("originals")
    configs = {state: copied(calm.config, folder / state) for state in ("finished", "interrupted")}
    for path in configs["interrupted"].directory.iterdir():
        path.unlink()
    interrupt(configs["interrupted"], 7)
    return configs


def reported(config: Config) -> tuple[str, list[str]]:
    """All that a report could be made of, and its problems."""
    study = load_study(Path(config.runs))
    runs = [run for group in study.groups for network in group.networks for run in network.runs]
    values = [(run.labels, run.result, run.state, run.reached, run.rows, run.record.final) for run in runs]
    return str(values), study.problems


def evaluated(here: Here, run: Run) -> str:
    """The line of `resexp evaluate`, or the one that refuses."""
    try:
        output = here("evaluate", f"runs={run.directory}", "device=cpu")
    except UserError as error:
        return str(error)
    return next(line for line in output.splitlines() if " error " in line)


@pytest.fixture
def known(originals: dict[str, Config], state: str, here: Here, runs: Path) -> Known:
    config = originals[state]
    copy = Run(copied(config, runs).directory)
    copy.checkpoint_file.unlink()  # the checkpoint before remains, which says its iteration
    return Known(config, reported(config)[0], {evaluated(here, run) for run in (Run(config.directory), copy)})


@pytest.mark.parametrize("state", ["interrupted", "finished"])
def test_each_file_damaged_in_each_way(
    calm: Calm, known: Known, state: str, here: Here, runs: Path, thorough: bool
) -> None:
    chance = random.Random(0)
    became: Counter[str] = Counter()
    for name in FILES:
        for how in DAMAGES if thorough else chance.sample(list(DAMAGES), 2):
            for _ in range(DAMAGES[how] if thorough else 1):
                config = copied(known.config, runs)
                (path,) = config.directory.glob(name)
                content = damaged(path.read_bytes(), how, chance)
                path.unlink() if content is None else path.write_bytes(content)
                became[check(calm, known, config, path, here)] += 1
    tried(
        "damaged files",
        became.total(),
        f"a file of the {state} run damaged in {sum(became.values())} ways: {dict(became)}",
    )


def check(calm: Calm, known: Known, config: Config, path: Path, here: Here) -> str:
    """What the three commands make of a damaged run: truth, or a line that names the file."""
    run = Run(config.directory)
    values, problems = reported(config)
    if values != known.reported:
        assert values == "[]", path
        assert str(path) in " ".join(problems)
    line = evaluated(here, run)
    assert line in known.evaluated or path.name in line
    if line := refusal(config):
        assert path.name in line
        return "refused by name"
    if known.config.runs.endswith("finished") and path.name.startswith(("checkpoint", "events")):
        assert run.history_file.read_bytes() == calm.outcome[0]
        return "left as it is, being finished"  # evaluate has named the checkpoint, TensorBoard has checks of its own
    finishes_as(config, calm.outcome)
    return "ended bit-identical"


def test_every_command_names_an_edited_configuration(calm: Calm, here: Here, runs: Path) -> None:
    run = Run(copied(calm.config, runs).directory)
    content = run.config_file.read_text()
    run.config_file.write_text(content.replace("lr: 0.01", "lr: 0.03"))
    assert run.config_file.read_text() != content
    for arguments in (
        ("train", *SHORT, f"runs={runs}"),
        ("report", f"runs={runs}"),
        ("evaluate", f"runs={run}", "device=cpu"),
    ):
        with pytest.raises(UserError, match=r"config\.yaml is damaged or was edited; train it again with fresh=true"):
            here(*arguments)

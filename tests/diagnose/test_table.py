"""Numbers on disk: read back as they were written, and not used when they no longer hold."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import Synthetic

from resexp.analysis.study import Group, load_study
from resexp.diagnose import table
from resexp.diagnose.table import CHECKPOINT, INITIALISATION, PLAIN, Measured, Reading, Subject
from resexp.errors import UserError


@pytest.fixture
def group(runs: Path) -> Group:
    Synthetic(runs, "cifar10", "short32").add("plain20")
    (group,) = load_study(runs).groups
    return group


@pytest.fixture
def subject(group: Group) -> Subject:
    digest = group.networks[0].runs[0].record.history_sha256
    return Subject("plain20", PLAIN, 20, "batch", 0, CHECKPOINT, 2000, "all 50,000 training images", "d", digest)


def test_what_is_written_is_read_back(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.csv"
    measured: Measured = {
        subject: [Reading("response", 1, "stem", 0.5), Reading("response", 2, "stages.0.0.conv1", 1.25e-9)],
        replace(subject, seed=1): [Reading("response", 1, "stem", float("inf"))],
    }
    table.write(path, measured)
    assert table.read(path) == measured
    assert table.read(tmp_path / "none.csv") == {}


@pytest.mark.parametrize(("whole", "damaged"), [(r"(?s).*", ""), (r"0\.5\n", "0.\n0"), ("0.5", "x"), ("network,", "")])
def test_a_damaged_file_is_named(subject: Subject, tmp_path: Path, whole: str, damaged: str) -> None:
    path = tmp_path / "responses.csv"
    text = table.text({subject: [Reading("response", 1, "stem", 0.5)]})
    path.write_text(re.sub(whole, damaged, text, count=1))
    with pytest.raises(UserError, match=r"responses\.csv is damaged; delete it and measure again"):
        table.read(path)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"history_sha256": "other"}, "plain-20 seed 0 after 2,000 iterations: the run was trained again since"),
        ({"seed": 7}, "plain-20 seed 7 after 2,000 iterations: its run is no longer there"),
        ({"data_sha256": "other"}, "plain-20 seed 0 after 2,000 iterations: measured on other images"),
    ],
)
def test_what_no_longer_holds_is_left_out_and_named(
    group: Group, subject: Subject, change: dict[str, str], line: str
) -> None:
    fresh = {subject: [Reading("response", 1, "stem", 0.5)]}
    changed = replace(subject, **change)
    kept, problems = table.current({**fresh, changed: []}, group)
    assert kept == fresh
    (problem,) = problems
    assert problem.startswith(line)


def test_initial_weights_need_no_run(group: Group, subject: Subject) -> None:
    initial = replace(subject, network="plain110", source=INITIALISATION, iteration=0, history_sha256="")
    assert table.current({initial: []}, group) == ({initial: []}, [])


def test_what_was_built_holds_as_long_as_the_run_that_it_was_built_from(group: Group, subject: Subject) -> None:
    built = replace(subject, network="plain56", depth=56, source="built from plain20")
    other = replace(built, history_sha256="other")
    kept, problems = table.current({built: [], other: []}, group)
    assert kept == {built: []}
    assert problems == ["plain-56 built from plain-20 seed 0: the run was trained again since it was measured"]

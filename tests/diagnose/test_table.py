"""Numbers on disk: read back as they were written, and not used when they no longer hold."""

import re
from contextlib import suppress
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


def test_a_table_without_scales_is_of_he_weights(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / "gradients.csv"
    measured = {subject: [Reading("weight", 1, "stem.0", 0.5)]}
    text = table.text(measured)
    path.write_text(text.replace(",scale,", ",").replace(",1.0,", ","))
    assert path.read_text() != text
    assert table.read(path) == measured
    other = replace(subject, source=INITIALISATION, norm="none", scale=0.7)
    table.write(path, measured | {other: []} | {other: [Reading("weight", 1, "stem.0", 0.35)]})
    assert {one.scale for one in table.read(path)} == {1.0, 0.7}


@pytest.mark.parametrize(("whole", "damaged"), [(r"(?s).*", ""), (r"0\.5\n", "0.\n0"), ("0.5", "x"), ("network,", "")])
def test_a_damaged_file_is_named(subject: Subject, tmp_path: Path, whole: str, damaged: str) -> None:
    path = tmp_path / "responses.csv"
    text = table.text({subject: [Reading("response", 1, "stem", 0.5)]})
    path.write_text(re.sub(whole, damaged, text, count=1))
    with pytest.raises(UserError, match=r"responses\.csv is damaged; delete it and measure again"):
        table.read(path)


def test_every_flipped_bit_and_every_edited_digit_is_noticed(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / "responses.csv"
    table.write(path, {subject: [Reading("response", 1, "stem", 0.457), Reading("response", 2, "conv", 0.5)]})
    whole = path.read_bytes()
    for at in range(8 * len(whole)):
        path.write_bytes(whole[: at // 8] + bytes([whole[at // 8] ^ 1 << at % 8]) + whole[at // 8 + 1 :])
        with suppress(UserError):
            assert table.text(table.read(path)) in whole.decode()
    for content in (whole.replace(b"0.457", b"13.3"), whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"responses\.csv is damaged; delete it and measure again"):
            table.read(path)


def test_a_table_of_a_version_without_the_digest_is_read_and_gets_it(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / "responses.csv"
    measured: Measured = {subject: [Reading("response", 1, "stem", 0.5)]}
    path.write_text(table.text(measured))
    table.write(path, table.read(path))
    assert path.read_text().splitlines()[-1].startswith("# sha256: ")
    assert table.read(path) == measured


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '[{"networks": "x", "seconds": 1, "started": "2026"}]', "[" * 9999]
)
def test_sessions_that_are_not_those_of_this_program_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "responses.json").write_text(content)
    with pytest.raises(UserError, match=r"responses\.json is damaged; delete it"):
        table.read_sessions(tmp_path / "responses.csv")


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


def test_what_was_measured_on_another_number_of_images_is_left_out_by_name(subject: Subject) -> None:
    reading = [Reading("response", 1, "stem", 0.5)]
    few, without = "the first 8 images", replace(subject, norm="none", images="the first 4 images")
    measured: Measured = {replace(subject, seed=seed): reading for seed in (0, 1)}
    measured |= {replace(subject, seed=2, images=few): reading, without: reading}
    kept, problems = table.comparable(measured)
    assert list(kept) == [one for one in measured if one.images != few], "without norm fewer images are the rule"
    assert problems == [
        "plain-20 seed 2 after 2,000 iterations: measured on the first 8 images, most on all 50,000 training images"
    ]

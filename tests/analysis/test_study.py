"""What a folder of runs becomes: groups by content, distinct labels, and nothing damaged that goes unnamed."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import Synthetic, only_group

from resexp.analysis.study import Group, Study, load_study
from resexp.storage.run import FAILED, INTERRUPTED, RUNNING, Run


def network_names(group: Group) -> list[str]:
    return [network.name for network in group.networks]


def change_name(run: Run, part: str, name: object) -> None:
    content = run.config()
    content["result"][part]["name"] = name
    run.write_config(content)


def test_networks_by_kind_and_depth_and_seeds_in_order(short: Synthetic) -> None:
    for name, seed in (("resnet20", 1), ("plain56", 0), ("resnet20", 0), ("plain110", 0), ("plain20", 10)):
        short.add(name, seed)
    group = only_group(short.runs)
    assert (group.data, group.recipe, group.iterations, group.is_papers) == ("cifar10", "short32", 2000, False)
    assert network_names(group) == ["plain20", "plain56", "plain110", "resnet20"]
    assert [run.seed for run in group.networks[-1].runs] == [0, 1]


def test_metrics_are_means_over_seeds_and_one_seed_has_no_spread(short: Synthetic) -> None:
    short.add("plain56")
    for seed, (train, test) in enumerate([(0.10, 0.20), (0.14, 0.21), (0.12, 0.25)]):
        short.add("plain20", seed, train, test, noise=0)
    network, single = only_group(short.runs).networks
    assert single.spread("test_error") is None
    assert network.values("running_error") == pytest.approx([0.10, 0.14, 0.12])
    assert network.mean("running_error") == pytest.approx(0.12)
    assert network.spread("running_error") == pytest.approx(0.02)
    assert network.mean("test_error") == pytest.approx(0.22)
    assert network.mean("clean_train_error") == pytest.approx(0.9 * 0.12)


def test_groups_are_made_by_content_not_by_directory(short: Synthetic, tmp_path: Path) -> None:
    directory = short.add("plain20").directory
    short.add("plain56")
    directory.rename(tmp_path / "runs" / "elsewhere")
    assert network_names(only_group(short.runs)) == ["plain20", "plain56"]


def test_what_differs_from_a_preset_is_in_the_label(short: Synthetic) -> None:
    short.add("plain20")
    Synthetic(short.runs, "cifar10", "short32", {"recipe.lr": 0.05}).add("plain20")
    Synthetic(short.runs, "shapes", "short32", {"data.noise": 0.1}).add("plain20")
    Synthetic(short.runs / "wide", "cifar10", "short32", {"model.width": 2}).add("plain20")
    assert network_names(load_study(short.runs).groups[0]) == ["plain20", "plain20+width2"]
    labels = [(group.data, group.recipe) for group in load_study(short.runs).groups]
    assert labels == [("cifar10", "short32"), ("cifar10", "short32+lr0.05"), ("shapes+noise0.1", "short32")]


def test_two_contents_never_share_a_label(short: Synthetic) -> None:
    """Folders of images with one name, in two places."""
    for parent in "ab":
        Synthetic(short.runs / parent, "folder", "short32", {"data.dir": f"/{parent}/pets"}).add("plain20")
    labels = {group.data for group in load_study(short.runs).groups}
    assert len(labels) == 2
    assert all(label.startswith("folder+pets+") for label in labels)


@pytest.mark.parametrize("name", ["../../outside", "", "a/b", ".hidden", "x" * 200, 7, None])
def test_a_name_that_is_no_file_name_is_refused(short: Synthetic, name: object) -> None:
    change_name(short.add("plain20"), "recipe", name)
    change_name(short.add("plain20", 1), "data", name)
    study = load_study(short.runs)
    assert study.groups == []
    assert len(study.problems) == 2


@pytest.mark.parametrize(
    ("state", "shown"), [(FAILED, "failed"), (INTERRUPTED, "interrupted"), (RUNNING, "interrupted")]
)
def test_runs_that_are_not_finished_count_in_nothing_but_are_known(short: Synthetic, state: str, shown: str) -> None:
    short.add("plain20", 0, 0.1, noise=0)
    short.add("plain20", 1, 0.5, state=state, noise=0, error="disk full")
    group = only_group(short.runs)
    assert group.networks[0].mean("running_error") == pytest.approx(0.1)
    ((network, run),) = group.not_counted
    assert (network.name, run.seed, run.state, run.reached) == ("plain20", 1, shown, 1000)


def test_progress_counts_a_checkpoint_after_the_last_row(short: Synthetic) -> None:
    short.add("plain20", 0, state=INTERRUPTED, iteration=1035)
    ((_, run),) = only_group(short.runs).not_counted
    assert (run.reached, run.at) == (1000, 1035)
    assert run.progress == "interrupted at iteration 1,035 of 2,000"


def test_a_run_being_trained_is_running(short: Synthetic) -> None:
    run = short.add("plain20", state=RUNNING)
    with run.claimed():
        ((_, found),) = only_group(short.runs).not_counted
    assert found.state == "running"


def test_a_directory_that_training_has_only_just_made(short: Synthetic) -> None:
    run = short.add("plain20")
    run.record_file.unlink()
    run.history_file.unlink()
    ((_, found),) = only_group(short.runs).not_counted
    assert (found.state, found.rows) == ("not started", [])


@pytest.mark.parametrize(
    "damage",
    [
        {"sessions": 3},
        {"sessions": [1]},
        {"sessions": [{"seconds": "x"}]},
        {"data": None},
        {"rows": "x"},
        {"state": "x"},
    ],
)
def test_a_record_of_the_wrong_types_is_left_out_by_name(short: Synthetic, damage: dict[str, Any]) -> None:
    run = short.add("plain20")
    run.write_record(replace(run.record(), **damage))
    study = load_study(short.runs)
    assert study.groups == []
    assert str(run) in study.problems[0]


def change_a_row(text: str) -> str:
    return text.replace("\n200,", "\n201,")


def add_a_row(text: str) -> str:
    return text + text.splitlines()[-1].replace("2000,", "2100,", 1) + "\n"


def spoil_a_row(text: str) -> str:
    return text.replace("\n400,", "\n400,nonsense,")


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (change_a_row, "history.csv is not what was measured"),
        (add_a_row, "history.csv is not what was measured"),
        (spoil_a_row, "history.csv: line 5 is damaged"),
    ],
)
def test_a_run_that_is_not_what_was_measured_is_left_out_by_name(
    short: Synthetic, damage: Callable[[str], str], line: str
) -> None:
    run = short.add("plain20")
    short.add("plain56")
    run.history_file.write_text(damage(run.history_file.read_text()))
    study = load_study(short.runs)
    assert network_names(study.groups[0]) == ["plain56"]
    (problem,) = study.problems
    assert problem.startswith(f"{run}/{line}")


@pytest.mark.parametrize(
    "missing", ["history.csv", "config.yaml", "run.json", "config.yaml content", "run.json content"]
)
def test_what_cannot_be_read_is_left_out_by_name(short: Synthetic, missing: str) -> None:
    run = short.add("plain20")
    run.checkpoint_file.touch()
    if "content" not in missing:
        (run.directory / missing).unlink()
    elif missing == "run.json content":
        run.record_file.write_text("{")
    else:
        run.config_file.write_text("result: [")
    study = load_study(short.runs)
    assert study.groups == []
    (problem,) = study.problems
    assert str(run.directory / missing.removesuffix(" content")) in problem


def test_a_copy_of_a_run_does_not_count_twice(short: Synthetic) -> None:
    run = short.add("plain20")
    shutil.copytree(run.directory, short.runs / "zz-copy")
    study = load_study(short.runs)
    assert len(study.groups[0].networks[0].runs) == 1
    assert study.repeats == []
    (problem,) = study.problems
    assert "zz-copy" in problem
    assert "the same settings and seed as" in problem


def test_of_two_copies_the_finished_one_counts_and_of_two_finished_ones_the_later(short: Synthetic) -> None:
    whole = short.add("plain20")
    for name in ("aa-stopped", "bb-later"):
        shutil.copytree(whole.directory, short.runs / name)
    stopped, later = Run(short.runs / "aa-stopped"), Run(short.runs / "bb-later")
    record = stopped.record()
    record.state, record.final = INTERRUPTED, {}
    stopped.write_record(record)
    record = later.record()
    record.sessions[0]["started"] = "2026-02-01T00:00:00+00:00"
    later.write_record(record)
    study = load_study(short.runs)
    assert [run.path for run in study.runs] == ["bb-later"]
    assert len(study.problems) == 2
    later.record_file.unlink()
    assert [run.path for run in load_study(short.runs).finished] == [str(whole.directory.relative_to(short.runs))]


def test_a_copy_that_has_not_begun_is_not_there_in_another_precision(short: Synthetic) -> None:
    run = short.add("plain20")
    for name in ("aa", "zz"):
        (short.runs / name).mkdir()
        shutil.copy(run.config_file, short.runs / name / "config.yaml")
    study = load_study(short.runs)
    assert (len(study.finished), study.repeats, len(study.problems)) == (1, [], 2)


def test_runs_on_different_images_are_not_one_data_set(short: Synthetic) -> None:
    short.add("plain20")
    short.add("plain56", data={"name": "cifar10", "digest": "other", "classes": 10})
    assert "different images" in load_study(short.runs).problems[0]


def test_no_runs(runs: Path) -> None:
    assert load_study(runs) == Study()


def test_near_chance_is_not_trained(short: Synthetic) -> None:
    short.add("plain20", 0, 0.84, noise=0)
    short.add("plain20", 1, 0.86, noise=0)
    assert [run.trained for run in only_group(short.runs).networks[0].finished] == [True, False]


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["config.yaml", "run.json", "history.csv"]),
    where=st.floats(0, 1),
    insert=st.binary(max_size=8),
    remove=st.integers(0, 40),
)
def test_no_damage_stops_the_study(name: str, where: float, insert: bytes, remove: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        synthetic = Synthetic(Path(folder), "cifar10", "short32", {"recipe.row_every": 500})
        path = synthetic.add("plain20").directory / name
        synthetic.add("plain56")
        content = path.read_bytes()
        start = int(where * len(content))
        path.write_bytes(content[:start] + insert + content[start + remove :])
        names = {network.name for group in load_study(Path(folder)).groups for network in group.networks}
        assert "plain56" in names

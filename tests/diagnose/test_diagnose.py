"""`resexp diagnose` on trained runs: what it writes, what it leaves alone, what it refuses."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from conftest import TINY, Here
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from resexp.config.compose import compose
from resexp.errors import UserError
from resexp.storage.run import INTERRUPTED, Run
from resexp.training.train import train

SMALL = (
    *("model=resnet20+depth8,plain20+depth8", "initial_seeds=[0]", "batch_size=8", "images_without_norm=4"),
    "lesion_images=16",
)

LONGER = ("recipe.iterations=60", "recipe.drops=[50]", "recipe.row_every=4", "recipe.lr=0.05")
"""Long enough to learn something."""
EVERY_3 = ("recipe.iterations=9", "recipe.drops=[]", "recipe.row_every=3", "recipe.evaluate_every=3")
SHORT = (*TINY, *EVERY_3, "model=plain20", "model.depth=8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain and a residual network of 8 layers that have learned something."""
    folder = tmp_path_factory.mktemp("trained") / "runs"
    for name in ("plain20", "resnet20"):
        train(compose(*TINY, *LONGER, f"model={name}", "model.depth=8", f"runs={folder}"))
    GlobalHydra.instance().clear()
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def one_run(folder: Path, family: str = "resnet") -> Run:
    (path,) = folder.rglob(f"{family}*/seed0/run.json")
    return Run(path.parent)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "diagnoses" not in path.parts]
    return {str(path): path.read_bytes() for path in files}


def test_all_are_measured_once_and_runs_are_left_as_they_are(
    here: Here, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = contents(folder)
    printed = here("diagnose", *SMALL, "depths=[14]", "verbose=true")
    assert contents(folder) == before
    assert "on their way from the last block back to the first, gradients " in printed
    assert "after 60 iterations" in printed
    assert "residual responses are smaller" in printed
    assert "When one block is removed, the test error changes" in printed
    assert "plain-20+depth14   plain-20+depth8 " in printed
    for line in printed.splitlines()[-13:]:
        assert (tmp_path / line).stat().st_size > 0
    tables = {path: path.read_bytes() for path in folder.rglob("diagnoses/**/*.csv")}
    assert {path.name for path in tables} == {"gradients.csv", "lesions.csv", "responses.csv", "construction.csv"}
    with caplog.at_level(logging.INFO, "resexp"):
        assert here("diagnose", *SMALL, "depths=[14]", "verbose=true") == printed
    assert [message for message in caplog.messages if "nothing new to measure" in message] == [
        f"{what}: nothing new to measure" for what in ("gradients", "responses", "lesions", "construction")
    ]
    assert {path: path.read_bytes() for path in folder.rglob("diagnoses/**/*.csv")} == tables

    here("report", "out=page")
    page = (tmp_path / "page" / "index.html").read_text()
    assert all(heading in page for heading in ("Why: gradients", "Why: responses", "Why: lesions", "Why: construction"))
    assert "Not measured yet" not in page
    drawn = [path for path in (tmp_path / "report").rglob("*") if path.is_file()]
    assert len(drawn) == 13
    for path in drawn:
        assert (tmp_path / "page" / path.relative_to(tmp_path / "report")).read_bytes() == path.read_bytes()


def test_one_seed_of_initial_weights_is_said_to_give_no_interval(
    here: Here, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    only = ("gradients", *SMALL, "model=plain20+depth8", "scales=[1]")
    with caplog.at_level(logging.WARNING, "resexp"):
        here("diagnose", *only, "initial_seeds=[0,1]")
        assert caplog.messages == []
        here("diagnose", *only, "initial_seeds=[0]")
    assert caplog.messages == ["initial_seeds=0: an interval over seeds needs two or more; there will be none"]


def test_initial_gradients_without_norm_are_measured_at_each_scale_in_float64(
    here: Here, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    only = ("gradients", *SMALL, "model=plain20+depth8")
    here("diagnose", *only, "scales=[1]")
    with caplog.at_level(logging.INFO, "resexp"):
        printed = here("diagnose", *only, "scales=[1,1e-30]")
    assert [message for message in caplog.messages if "weights times" in message] == [
        "gradients: plain-20+depth8 seed 0 at initialisation without norm, weights times 1e-30"
    ]
    assert "first/last layer" not in printed, "a sentence and one table, unless more is asked for"
    assert "He times 1e-30" in here("diagnose", *only, "scales=[1,1e-30]", "verbose=true")
    assert "not finite" not in printed
    (sessions,) = folder.rglob("gradients.json")
    assert [session["precision"] for session in json.loads(sessions.read_text())] == ["fp32 and fp64", "fp64"]


def test_other_images_are_measured_and_fresh_measures_again(
    here: Here, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "resexp"):
        here("diagnose", "lesions", "lesion_images=4")
        here("diagnose", "lesions", "lesion_images=6")
        here("diagnose", "lesions", "lesion_images=6", "fresh=true")
    assert caplog.messages.count("lesions: 2 networks on cpu") == 3
    (path,) = folder.rglob("lesions.csv")
    assert "6 test images" in path.read_text()
    assert "4 test images" not in path.read_text()


def test_an_unfinished_run_is_left_out_by_name_and_the_rest_is_measured(
    here: Here, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = one_run(folder, "plain")
    run.write_record(replace(run.record(), state=INTERRUPTED))
    with caplog.at_level(logging.WARNING, "resexp"):
        printed = here("diagnose", "responses")
    assert "mean over layers" in printed
    assert "responses: plain-20+depth8 seed 0: interrupted at iteration 60 of 60; it is left out" in caplog.messages
    with pytest.raises(UserError, match=r"model=plain20\+depth8: seed 0 cannot be diagnosed \(interrupted"):
        here("diagnose", "responses", "model=plain20+depth8")


@pytest.fixture
def kept(here: Here, tmp_path: Path) -> Run:
    """A run that kept its weights at both evaluations before its end."""
    here("train", *SHORT, "snapshots=true")
    return one_run(tmp_path / "runs", "plain")


def test_gradients_are_measured_wherever_weights_were_kept(here: Here, kept: Run, tmp_path: Path) -> None:
    assert kept.snapshots() == [3, 6]
    chosen = ("gradients", "model=plain20+depth8", "initial_seeds=[0]", "batch_size=8")
    printed = here("diagnose", *chosen, "iterations=[6]")
    assert "after 9 iterations" not in printed
    printed = here("diagnose", *chosen)
    assert "during training" in printed
    rows = next((tmp_path / "runs").rglob("gradients.csv")).read_text().splitlines()
    heading = rows[0].split(",")
    measured = {
        tuple(row.split(",")[heading.index(column)] for column in ("source", "iteration")) for row in rows[1:-1]
    }
    assert measured == {("initialisation", "0"), ("snapshot", "3"), ("snapshot", "6"), ("checkpoint", "9")}
    here("report", "out=page")
    assert "Plain, during training" in (tmp_path / "page" / "index.html").read_text()


def test_weights_that_were_not_kept_or_are_of_another_curve_are_left_out(
    here: Here, kept: Run, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UserError, match=r"iterations=4: no finished run kept its weights then; snapshots=true keeps"):
        here("diagnose", "gradients", "initial_seeds=[]", "iterations=[3,4]")
    kept.snapshot_file(6).replace(kept.snapshot_file(3))
    here("train", *SHORT, "seed=1")
    with caplog.at_level(logging.WARNING, "resexp"):
        assert "nothing could be measured" in here("diagnose", "gradients", "initial_seeds=[]", "iterations=[3]")
    assert "plain-20+depth8 seed 1: its weights after 3 iterations were not kept; snapshots=true keeps" in caplog.text
    assert "its weights after 3 iterations are not of its curve" in caplog.text


def test_keeping_weights_changes_no_curve(here: Here, kept: Run, tmp_path: Path) -> None:
    here("train", *SHORT, "runs=without")
    other = one_run(tmp_path / "without", "plain")
    assert other.snapshots() == []
    assert other.history_file.read_bytes() == kept.history_file.read_bytes()
    assert "snapshots" not in kept.config_file.read_text()


def without_checkpoint(run: Run, other: Run) -> None:
    for path in run.checkpoint_files:
        path.unlink(missing_ok=True)


def of_another_network(run: Run, other: Run) -> None:
    for path in run.checkpoint_files:
        shutil.copy(other.checkpoint_file, path)


def of_another_curve(run: Run, other: Run) -> None:
    record = run.record()
    rows = run.rows(record)
    run.write_history(record, [rows[0]._replace(train_error=0.5), *rows[1:]])
    run.write_record(record)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (
            without_checkpoint,
            r"no checkpoint there; weights=FOLDER names that of its exported weights, or train it again",
        ),
        (of_another_network, r"it belongs to another run"),
        (of_another_curve, r"its weights after 60 iterations are not of its curve; train it again"),
    ],
)
def test_a_checkpoint_that_is_not_the_runs_is_named(
    here: Here, folder: Path, damage: Callable[[Run, Run], None], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(one_run(folder), one_run(folder, "plain"))
    with pytest.raises(UserError, match=line):
        here("diagnose", "responses", "model=resnet20+depth8")
    with caplog.at_level(logging.WARNING, "resexp"):
        printed = here("diagnose", "responses")
    assert "plain-20+depth8" in printed
    assert any(message.startswith("responses: ") and "left out" in message for message in caplog.messages)


def test_a_group_whose_images_are_gone_does_not_keep_the_others_from_being_measured(
    here: Here, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = tmp_path / "pets"
    for split, name in product(("train", "test"), ("cat", "dog")):
        (images / split / name).mkdir(parents=True)
        for number in range(10):
            colour = (20 * number, 255 * (name == "cat"), 0)
            Image.new("RGB", (8, 8), colour).save(images / split / name / f"{number}.png")
    own = [*(one for one in TINY if not one.startswith("data")), *LONGER, "data=folder", "data.image_size=8"]
    here("train", *own, f"data.dir={images}")
    here("train", *own, f"data.dir={images}/../pets/")
    assert caplog.messages[-1].endswith("finished already")  # one folder, however it is spelled
    here("export", f"runs={folder}", "model=resnet20+depth8", "out=weights")
    images.rename(tmp_path / "gone")
    groups = here("diagnose", "responses").split("shapes", 1)
    assert "nothing could be measured" in groups[0]
    assert "responses.csv and 3 more files" in groups[1]
    assert f"responses: data.dir: {images}/train: No such file" in caplog.text
    assert (
        "responses.csv and 3 more files"
        in here("diagnose", "responses", f"data.dir={tmp_path}/gone").split("shapes", 1)[0]
    )
    (found,) = folder.rglob("folder+pets/*/*/seed0/run.json")
    without_checkpoint(Run(found.parent), Run(found.parent))
    with caplog.at_level(logging.WARNING, "resexp"):
        printed = here("diagnose", "responses", "fresh=true", "weights=weights", f"data.dir={tmp_path}/gone")
    assert "nothing could be measured" not in printed.split("shapes", 1)[0]


def error_of(printed: str) -> str:
    """The error that `resexp evaluate` prints."""
    return re.findall(r"test error (.*?%)", printed)[0]


def test_what_is_built_is_saved_and_has_the_error_of_what_it_is_built_from(
    here: Here, folder: Path, tmp_path: Path
) -> None:
    here("diagnose", "construction", "depths=[14]")
    printed = here("diagnose", "construction", "depths=[14]", "save=built")
    assert "In 2 of 2 cases the built network has exactly the shallower one's errors" in printed
    (saved,) = (tmp_path / "built").rglob("resnet20+depth14-from-8-seed0.pt")
    built = here("evaluate", f"weights={saved}", "precision=fp32")
    assert built.startswith("resnet20 after 0 of 60 iterations: ")
    assert error_of(built) == error_of(here("evaluate", f"runs={one_run(folder)}", "precision=fp32"))
    content = saved.read_bytes()
    here("diagnose", "construction", "depths=[14]", "save=again", "fresh=true")
    assert (tmp_path / "again" / saved.relative_to(tmp_path / "built")).read_bytes() == content


def test_training_goes_on_from_what_was_built(here: Here, folder: Path, tmp_path: Path) -> None:
    here("diagnose", "construction", "depths=[14]", "save=built", "model=plain20+depth8")
    (saved,) = (tmp_path / "built").rglob("*.pt")
    here("train", *TINY, *LONGER, "model=plain20", "model.depth=14", f"start={saved}")
    assert "+start" in one_run(folder, "*depth14").directory.parent.name
    assert "+start" not in here("diagnose", "construction", "depths=[20]")  # neither built upon nor held against


def test_nothing_deeper_among_the_runs_is_told_with_what_to_do(
    here: Here, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "resexp"):
        assert "nothing could be measured" in here("diagnose", "construction")
    line = "construction: ResNet-20+depth8: no deeper network of its kind among the runs; depths=14 builds one"
    assert f"{line}; it is left out" in caplog.messages
    with pytest.raises(UserError, match=r"depths=8: not deeper than plain-20\+depth8 or ResNet-20\+depth8; name a"):
        here("diagnose", "construction", "depths=[8]")


def test_exported_weights_stand_in_for_checkpoints_that_are_gone(
    here: Here, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here("export", "out=weights", "dtype=fp32")
    expected = here("diagnose", "construction", "depths=[14]", "out=one")
    for run in (one_run(folder), one_run(folder, "plain")):
        without_checkpoint(run, run)
    with pytest.raises(UserError, match=r"no checkpoint there; weights=FOLDER names that of its exported weights, or"):
        here("diagnose", "construction", "depths=[14]", "fresh=true", "model=plain20+depth8")
    printed = here("diagnose", "construction", "depths=[14]", "fresh=true", "weights=weights", "out=one")
    assert printed == expected
    plain, residual = sorted((tmp_path / "weights").glob("*.pt"))
    shutil.copy(plain, residual)
    with caplog.at_level(logging.WARNING, "resexp"):
        here("diagnose", "construction", "depths=[14]", "fresh=true", "weights=weights")
    assert re.search(r"construction: weights=\S*resnet20\S*: not of the run \S+; export it again", caplog.text)


BAD = [
    ("what=reasons", r"what=reasons: choose all, gradients, responses, lesions, construction"),
    ("reasons", r"what=reasons: choose all"),
    ("group=cifar10/paper", r"group=cifar10/paper: no such runs in runs; choose shapes"),
    ("batch_size=1", r"batch_size=1: must be 2 or more"),
    ("lesion_images=-1", r"lesion_images=-1"),
    ("initial_seeds=[-1]", r"initial_seeds=-1"),
    ("iterations=[0]", r"iterations=0: must be 1 or more"),
    ("scales=[1,0]", r"scales=0\.0: must be finite and above 0; 1 keeps He weights"),
    ("scales=[-0.5]", r"scales=-0\.5: must be finite"),
    ("scales=[inf]", r"scales=inf: must be finite"),
    ("scales=[nan]", r"scales=nan: must be finite"),
    ("scales=x", r"scales\[0\]: 'x' is not a number"),
    ("images_without_norm=0", r"images_without_norm=0: must be 1 or more"),
    ("depths=[15]", r"depths=15: a depth is 6n \+ 2, such as 20 or 56"),
    ("depths=[]", r"depths=\[\]: name some"),
]


@pytest.mark.parametrize(("setting", "line"), BAD)
def test_a_wrong_setting_is_named(here: Here, folder: Path, setting: str, line: str) -> None:
    first = [] if "what" in setting or "=" not in setting else ["responses"]
    with pytest.raises(UserError, match=line):
        here("diagnose", *first, setting)
    assert not (folder / "diagnoses").exists()

"""What is committed of a run: its small files, whole, readable by every verb, and telling nothing of the machine."""

import csv
import logging
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import TINY, Here
from synthetic import Synthetic

from resexp.analysis.study import load_study
from resexp.diagnose import table as diagnoses
from resexp.errors import UserError
from resexp.publish import readme
from resexp.report.spec import Table
from resexp.storage import note
from resexp.storage.run import FAILED, INTERRUPTED, Run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def short(runs: Path) -> Synthetic:
    """Two networks of a shortened schedule, one seed each, trained somewhere else."""
    synthetic = Synthetic(runs, recipe="short32", changes={"data.dir": "/home/someone/cifar"})
    for network in ("plain20", "resnet20"):
        synthetic.add(network, process={"host": "secret.example", "pid": 4711})
    return synthetic


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_collected_run_is_whole_and_every_verb_reads_it(
    here: Here, tmp_path: Path, runs: Path, short: Synthetic
) -> None:
    here("collect", "name=figure1")
    places = sorted(path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.glob("results/**/run.json"))
    assert places == [f"results/figure1/cifar10/short32/{name}/seed0" for name in ("plain20", "resnet20")]
    before, after = load_study(runs).finished, load_study(tmp_path / "results").finished
    assert [run.final for run in after] == [run.final for run in before]
    for place in places:
        assert {path.name for path in (tmp_path / place).iterdir()} == {"config.yaml", "run.json", "history.csv"}
        run = Run(tmp_path / place)
        assert run.is_complete(run.record())
    assert "plain-20" in here("report", "runs=results/figure1", "out=results/figures")
    assert (tmp_path / "results/figures/cifar10/short32/figure1.png").exists()
    assert here("check", "runs=runs", "reference=results").count("bit for bit the curve of the reference") == 2


def test_what_diagnoses_measured_comes_along(here: Here, tmp_path: Path, runs: Path, short: Synthetic) -> None:
    (group,) = load_study(runs).groups
    run = group.networks[0].runs[0]
    where = ("the first 8 images", "d", run.record.history_sha256)
    subject = diagnoses.Subject("plain20", diagnoses.PLAIN, 20, "batch", 0, diagnoses.CHECKPOINT, 2000, *where)
    file = diagnoses.table_file(runs, group, "responses")
    collected = diagnoses.table_file(tmp_path / "results/figure1", group, "responses")
    for images, value in (("the first 8 images", 0.5), ("all images", 0.7)):
        measured = {replace(subject, images=images): [diagnoses.Reading("response", 1, "stem", value)]}
        diagnoses.write(file, measured, [{"started": f"2026-01-0{int(10 * value)}", "networks": 1, "seconds": 2.0}])
        here("collect", "name=figure1")
        assert diagnoses.gather(diagnoses.files(tmp_path / "results"), group, "responses") == measured
        shown = here("report", "runs=results", "verbose=true")
        assert "mean response" in shown
        assert f"{value}" in shown
    assert [session["started"] for session in diagnoses.read_sessions(collected)] == ["2026-01-05", "2026-01-07"]


def test_readme_says_when_and_on_what_diagnoses_were_measured(here: Here, tmp_path: Path) -> None:
    here("train", *TINY)
    here("diagnose", "responses")
    here("collect", "name=tiny")
    readme = (tmp_path / "results/README.md").read_text()
    (line,) = [line for line in readme.splitlines() if line.startswith("| `diagnoses/")]
    file, measured, hardware, versions, *_ = line.strip("| ").split(" | ")
    assert (tmp_path / "results/tiny" / file.strip("`")).exists()
    assert measured == "1 network on all 96 training images"
    assert hardware.endswith("fp32")
    assert versions.startswith("resexp ")


def test_readme_shows_the_gradients_of_initial_weights(
    here: Here, tmp_path: Path, runs: Path, short: Synthetic
) -> None:
    (group,) = load_study(runs).groups
    of = diagnoses.Subject(
        *("plain20", diagnoses.PLAIN, 20, "none", 0, diagnoses.INITIALISATION, 0, "8 images", "d", ""), scale=0.5
    )
    gradients = [diagnoses.Reading("output_gradient", at, f"block{at}", 4.0**at) for at in (1, 2, 3)]
    diagnoses.write(diagnoses.table_file(runs, group, "gradients"), {of: gradients})
    here("collect", "name=figure1")
    text = (tmp_path / "results/README.md").read_text()
    assert "| plain-20 | none | He times 0.5 | 1 | 0.25 | 0.062 |" in text


def test_remarks_beside_the_networks_are_shown_in_readme_and_on_the_page(
    here: Here, tmp_path: Path, runs: Path, short: Synthetic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From wherever a report is made; of several experiments all. What cannot be read is named and left out."""
    here("collect", "name=one")
    other = Synthetic(tmp_path / "results/two", "cifar10", "short32")
    other.add("plain56", 0)
    place = "cifar10/short32/remarks.txt"
    (tmp_path / "results/one" / place).write_text("Seeds 5 to 9\nwere <added> later.\n", encoding="utf-8")
    (tmp_path / "results/two" / place).write_text("\ufeffTwo machines.", encoding="utf-8")
    here("collect", "name=one")
    here("report", "runs=results", "out=page")
    readme = (tmp_path / "results/README.md").read_text(encoding="utf-8")
    page = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    assert "\n\nSeeds 5 to 9 were &lt;added&gt; later. Two machines.\n\n" in readme
    assert "Seeds 5 to 9 were &lt;added&gt; later. Two machines.</p>" in page
    (tmp_path / "results/two" / place).write_bytes(b"caf\xe9")
    monkeypatch.chdir(tmp_path / "results/two/cifar10/short32/plain56")
    here("report", "runs=.", f"out={tmp_path}/part")
    page = (tmp_path / "part/index.html").read_text(encoding="utf-8")
    assert "remarks.txt: not a text in UTF-8; it is left out" in page
    assert "later." not in page


def test_remarks_are_collected_with_their_runs_and_not_over_others(here: Here, tmp_path: Path, runs: Path) -> None:
    Synthetic(runs, recipe="short32").add("plain20")
    place = "cifar10/short32/remarks.txt"
    (tmp_path / "runs" / place).write_bytes(b"Too few seeds.\n")
    here("collect", "name=one")
    assert (tmp_path / "results/one" / place).read_bytes() == b"Too few seeds.\n"
    (tmp_path / "results/one" / place).write_text("Written here.")
    here("collect", "name=one")
    assert (tmp_path / "results/one" / place).read_text() == "Written here."


def test_remarks_beside_networks_of_several_groups_are_named_where_they_may_not_be_meant(
    here: Here, caplog: pytest.LogCaptureFixture, tmp_path: Path, runs: Path
) -> None:
    other = Synthetic(runs, "shapes", "quick", {"data.seed": 1}).add("plain20").directory.parent
    Synthetic(runs, "shapes", "quick").add("plain20")
    other.rename(runs / "shapes/quick/plain20+data_seed1")  # where training puts it
    (runs / "shapes/quick/remarks.txt").write_text("Declared.\n")
    here("collect", "name=depths")
    here("collect", "name=depths")
    assert (tmp_path / "results/depths/shapes/quick/remarks.txt").read_text() == "Declared.\n"
    assert not (tmp_path / "results/depths/shapes+seed1/quick/remarks.txt").exists()
    assert caplog.text.count("left out for shapes+seed1/quick; if it is meant for that, copy it to") == 2


def test_remarks_that_cannot_be_read_are_named_and_the_runs_are_collected(
    here: Here, tmp_path: Path, runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short = Synthetic(runs, recipe="short32")
    short.add_all(["plain20", "plain56"])
    (runs / "cifar10/short32/remarks.txt").mkdir()
    here("collect", "name=one")
    assert caplog.text.count("remarks.txt: Is a directory; it is left out") == 1
    assert len(table(tmp_path / "results/summary.csv")) == 2


def test_nothing_names_the_machine_its_folders_or_who_trained(here: Here, tmp_path: Path, short: Synthetic) -> None:
    here("train", *TINY, f"runs={tmp_path}/runs")
    here("collect", "name=tiny")
    secrets = (str(tmp_path), str(Path.home()), socket.gethostname(), '"pid"', "someone", "secret.example")
    for path, content in contents(tmp_path / "results").items():
        assert not [word for word in secrets if word.encode() in content], path


def test_runs_of_several_machines_come_together(
    here: Here, tmp_path: Path, short: Synthetic, caplog: pytest.LogCaptureFixture
) -> None:
    other = Synthetic(tmp_path / "elsewhere", recipe="short32")
    other.add("plain20", 1)
    other.add("plain20", 2, state=INTERRUPTED)
    here("collect", "name=figure1")
    with caplog.at_level(logging.INFO, "resexp"):
        here("collect", "runs=elsewhere", "name=figure1")
    assert "1 run left out, not finished" in caplog.text
    rows = table(tmp_path / "results/summary.csv")
    assert [(row["network"], row["family"], row["depth"], row["seed"]) for row in rows] == [
        ("plain20", "plain", "20", "0"),
        ("plain20", "plain", "20", "1"),
        ("resnet20", "residual", "20", "0"),
    ]
    assert {row["device"] for row in rows} == {"NVIDIA H200, bf16"}
    assert {(row["data"], row["recipe"], row["iterations"], row["seconds"]) for row in rows} == {
        ("cifar10", "short32", "2000", "600")
    }
    assert 0 < float(rows[0]["final_running_error"]) < float(rows[0]["test_error"]) < 1


def test_another_curve_of_the_same_run_is_refused_and_nothing_is_copied(
    here: Here, tmp_path: Path, short: Synthetic
) -> None:
    here("collect", "name=figure1")
    kept = contents(tmp_path / "results")
    other = Synthetic(tmp_path / "elsewhere", recipe="short32")
    other.add("plain20", 0, 0.5, 0.5)
    other.add("plain20", 1)
    with pytest.raises(UserError, match=r"results/figure1/cifar10/short32/plain20/seed0 holds another curve"):
        here("collect", "runs=elsewhere", "name=figure1")
    assert contents(tmp_path / "results") == kept


def test_collecting_again_changes_nothing_and_mends_what_was_interrupted(
    here: Here, tmp_path: Path, short: Synthetic, caplog: pytest.LogCaptureFixture
) -> None:
    here("collect", "name=figure1", "checkpoints='on the shelf'")
    kept = contents(tmp_path / "results")
    with caplog.at_level(logging.INFO, "resexp"):
        here("collect", "name=figure1")
    assert "2 runs collected before" in caplog.text
    assert contents(tmp_path / "results") == kept
    run = Run(tmp_path / "results/figure1/cifar10/short32/plain20/seed0")
    run.history_file.unlink()
    run.record_file.write_text("{")
    here("collect", "name=figure1")
    assert contents(tmp_path / "results") == kept


def test_a_collected_run_of_which_one_file_is_damaged_is_collected_again_or_named(
    here: Here, tmp_path: Path, short: Synthetic, caplog: pytest.LogCaptureFixture
) -> None:
    here("collect", "name=figure1")
    kept = contents(tmp_path / "results")
    run = Run(tmp_path / "results/figure1/cifar10/short32/plain20/seed0")
    run.record_file.write_text("{")
    here("collect", "name=figure1")
    assert contents(tmp_path / "results") == kept
    short.add("plain20", 5)
    shutil.copytree(run.directory, tmp_path / "results/other")
    (tmp_path / "results/other/run.json").write_text("{")
    here("collect", "name=figure1")
    assert "results/other/run.json is damaged" in caplog.text


def test_readme_says_where_everything_came_from(here: Here, tmp_path: Path, short: Synthetic) -> None:
    short.add("plain20", 1)
    here("collect", "name=figure1", "checkpoints='on the shelf, runs.tar'")
    text = (tmp_path / "results/README.md").read_text()
    assert "resexp train -m model=plain20 data=cifar10 recipe=short32 seed=0,1 precision=bf16\n" in text
    assert "resexp train model=resnet20 data=cifar10 recipe=short32 seed=0 precision=bf16\n" in text
    assert "a shortened schedule (2,000 iterations)" in text
    versions = "resexp 0.1.0, Python 3.11.7, torch 2.15.0, CUDA 13.0, cuDNN 91400"
    where = f"NVIDIA H200, bf16, eager | {versions} | 0123456789 | 2026-01-01 | 600 |"
    assert f"| plain-20, seed 1 | 2,000 | {where}" in text
    assert "Checkpoints: on the shelf, runs.tar" in text


def test_readme_opens_with_the_claims_of_the_report(here: Here, tmp_path: Path, runs: Path) -> None:
    Synthetic(runs, recipe="short32").add_all(["plain20", "plain56", "resnet20", "resnet56"], seeds=3)
    here("collect", "name=figure1")
    here("report", "runs=results", "out=results/figures")
    text = (tmp_path / "results/README.md").read_text()
    claims = (tmp_path / "results/figures/cifar10/short32/claims.md").read_text()
    assert claims.count("reproduced") >= 2
    assert claims in text
    assert text.index("## Claims") < text.index("## Files")


def test_the_command_in_readme_makes_the_same_run(here: Here, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    here("train", *TINY, "model=plain20", "recipe.flip=false", "seed=3")
    here("collect", "name=tiny")
    text = (tmp_path / "results/README.md").read_text()
    (command,) = [line for line in text.splitlines() if line.startswith("resexp train")]
    here(*command.split()[1:])
    assert "seed3: finished already" in caplog.text


def test_what_people_wrote_around_the_generated_part_stays(here: Here, tmp_path: Path, short: Synthetic) -> None:
    file = tmp_path / "results/README.md"
    file.parent.mkdir()
    file.write_text("# Ours\n\nBefore.\n\n## bench/\n\nSpeed.\n")
    here("collect", "name=figure1")
    once = file.read_text()
    assert once.startswith("# Ours\n\nBefore.\n\n## bench/\n\nSpeed.\n\n<!--")
    file.write_text(once + "\nAfter.\n")
    short.add("plain20", 1)
    here("collect", "name=figure1")
    assert file.read_text().endswith("-->\n\nAfter.\n")
    assert file.read_text().count("## figure1/") == 1
    assert "plain-20, seed 1" in file.read_text()


@pytest.mark.parametrize("missing", [readme.BEGIN, readme.END])
def test_a_readme_that_lost_a_mark_is_refused_and_stays(
    here: Here, tmp_path: Path, short: Synthetic, missing: str
) -> None:
    here("collect", "name=figure1")
    file = tmp_path / "results/README.md"
    file.write_text(file.read_text().replace(missing, "") + "\nAfter.\n")
    kept = contents(tmp_path / "results")
    short.add("plain20", 1)
    with pytest.raises(UserError, match=rf"results/README\.md: the line {missing} is missing; put it back"):
        here("collect", "name=figure1")
    assert contents(tmp_path / "results") == kept


def test_what_cannot_be_collected_is_refused_in_one_line(here: Here, runs: Path) -> None:
    def refused(line: str, *settings: str) -> None:
        with pytest.raises(UserError, match=line):
            here("collect", *settings)

    refused("name: not given")
    refused("runs=runs: no runs there; train some", "name=figure1")
    refused(r"margin=-1\.0: percentage points from 0 to 100", "name=figure1", "margin=-1")
    for name in ("figures", "../there", "a/b"):
        refused(r"name=.*: a folder's name, such as figure6", f"name={name}")
    Synthetic(runs, recipe="short32").add("plain20", state=FAILED)
    refused(r"no finished runs there \(1 run not finished\)", "name=figure1")
    Synthetic(runs, recipe="short32").add("plain20", 1)
    refused(r"out: cannot write .*; choose a folder with out=PATH", "name=figure1", "out=/dev/null/results")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in which everything is installed already."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/reproduce", tmp_path / "scripts/reproduce")
    for path, line in (
        ("scripts/setup", "true"),
        (".venv/bin/python", f'exec {sys.executable} "$@"'),
        (".venv/bin/resexp", f'exec {sys.executable} -m resexp "$@"'),
    ):
        (tmp_path / path).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / path).chmod(0o755)
    return tmp_path


def reproduce(checkout: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(checkout / "scripts/reproduce"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)


def test_reproduce_goes_on_where_it_stopped_and_ends_with_results(here: Here, checkout: Path) -> None:
    here("train", "model=plain20", *TINY, "runs=reproduce/figure1")
    done = reproduce(checkout, "experiment=figure1", *TINY, "seed=0")
    assert done.returncode == 0, done.stderr
    assert "data: shapes, 96 training and 40 test images, sound" in done.stderr
    assert (done.stderr.count("finished before"), done.stderr.count("finished, training error")) == (1, 1)
    assert [row["network"] for row in table(checkout / "reproduce/results/summary.csv")] == [
        "plain20+depth8",
        "plain56+depth8",
    ]
    assert list((checkout / "reproduce/results/figures").rglob("figure6.png"))
    assert {path.name for path in checkout.iterdir()} == {".venv", "scripts", "reproduce"}


def test_reproduce_says_what_is_wrong_before_anything_is_trained(checkout: Path) -> None:
    done = reproduce(checkout, "experiment=figure7")
    assert done.returncode == 1
    assert done.stderr.startswith("resexp: experiment=figure7: no such choice; choose ")
    done = reproduce(checkout, "experiment=figure1", *TINY, "data=shapes,nothing")
    assert done.returncode == 1
    assert done.stderr.startswith("data: shapes, 96 training and 40 test images, sound\nresexp: data=nothing: no such ")
    assert reproduce(checkout, "figure1").returncode == 2
    assert not (checkout / "reproduce").exists()


def test_readme_lists_trained_weights_of_all_and_of_one_experiment(
    here: Here, tmp_path: Path, short: Synthetic
) -> None:
    for folder, name in (("weights", "one"), ("figure1/weights", "two")):
        (tmp_path / "results" / folder).mkdir(parents=True)
        weights = tmp_path / "results" / folder / f"{name}.pt"
        weights.write_bytes(bytes(1234))
        measured = {"dtype": "fp16", "iterations": 1, "test_images": 1, "history_sha256": "0" * 64, "measured": {}}
        note.write(weights, test_error=0.0911, run_test_error=0.09, **measured)
    here("collect", "name=figure1")
    text = (tmp_path / "results/README.md").read_text(encoding="utf-8")
    for file in ("weights/one.pt", "figure1/weights/two.pt"):
        assert f"| `{file}` | 1,234 | 9.11% | 9.00% |" in text


def test_what_stands_in_the_way_is_named_before_anything_is_copied(
    here: Here, tmp_path: Path, short: Synthetic
) -> None:
    results = tmp_path / "results"
    (results / "weights").mkdir(parents=True)
    note, text = results / "weights/x.json", results / "README.md"
    for content in (b"", b"{}", b"[]", b"\xff"):
        note.write_bytes(content)
        with pytest.raises(UserError, match=r"weights/x\.json is damaged .*; delete it"):
            here("collect", "name=figure1")
    note.unlink()
    text.write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(UserError, match=r"README\.md: not a text in UTF-8"):
        here("collect", "name=figure1")
    assert not list(results.rglob("run.json"))
    text.unlink()
    (results / "summary.csv").mkdir()
    with pytest.raises(UserError, match=r"out: cannot write .*summary\.csv.*; choose a folder with out=PATH"):
        here("collect", "name=figure1")


def test_a_collected_run_is_bound_to_its_settings_also_if_it_was_not_before(
    here: Here, tmp_path: Path, runs: Path
) -> None:
    Synthetic(runs, recipe="short32").add("plain20")
    (before,) = load_study(runs).finished
    here("collect", "name=figure1")
    (after,) = load_study(tmp_path / "results").finished
    assert (before.record.config_sha256, len(after.record.config_sha256)) == ("", 64)


def test_html_in_a_name_is_text_in_tables() -> None:
    assert Table("", ["a"], [["<script>"]]).markdown().endswith("| &lt;script> |\n")

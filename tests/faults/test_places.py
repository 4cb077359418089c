"""Where runs lie: behind links, in folders that cannot be looked into, beside another run's files."""

import json
import logging
import os
import shutil
from pathlib import Path

import pytest
from conftest import TINY, Here
from faulty import SHORT, Calm, after, at_runs, copied, finishes_as, interrupt, refusal
from synthetic import Synthetic

from resexp.analysis.study import load_study
from resexp.config.compose import compose
from resexp.config.settings import Config
from resexp.errors import UserError
from resexp.storage.run import Run, find_runs
from resexp.system.files import digest

MOVE = shutil.move
OTHER_SETTINGS = r"run\.json is of a run with other settings than config\.yaml beside it"


def names(folder: Path) -> list[str]:
    return [run.directory.relative_to(folder).as_posix() for run in find_runs(folder)]


def test_runs_behind_links_are_found_once_and_loops_end(tmp_path: Path) -> None:
    Synthetic(tmp_path / "far").add("plain20")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "cifar10").symlink_to(tmp_path / "far/cifar10")
    (inner / "again").symlink_to(tmp_path / "far/cifar10/paper")
    (inner / "loop").symlink_to(inner)
    assert names(inner) == ["again/plain20/seed0"]
    assert [run.path for run in load_study(inner).finished] == ["again/plain20/seed0"]
    (tmp_path / "far/more").symlink_to(tmp_path / "far/cifar10")
    assert names(tmp_path / "far") == ["cifar10/paper/plain20/seed0"]


def test_a_run_trained_behind_a_link_is_seen_by_every_verb(here: Here, tmp_path: Path) -> None:
    (tmp_path / "big/shapes").mkdir(parents=True)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/shapes").symlink_to(tmp_path / "big/shapes")
    here("train", *TINY, "runs=inner")
    assert "finished" in here("status", "runs=inner")
    assert "ResNet-20+depth8" in here("report", "runs=inner")
    assert "seed0" in here("collect", "runs=inner", "name=tiny")
    assert "test error" in here("export", "runs=inner", "device=cpu")


@pytest.fixture
def lost(runs: Path) -> Path:
    """A folder beside a run that not even root can look into."""
    Synthetic(runs).add("plain20")
    place = runs / "cifar10/paper/plain20/seed1"
    place.symlink_to(place.name)
    (runs / "cifar10/paper/plain56").symlink_to("/nowhere/plain56")
    return place


def test_a_folder_that_cannot_be_looked_into_is_named_by_every_verb(
    here: Here, status_of_damage: Here, lost: Path, caplog: pytest.LogCaptureFixture
) -> None:
    *lines, last = [line for line in status_of_damage().splitlines() if "damaged" in line]
    assert [line.split()[0] for line in lines] == ["cifar10/paper/plain20/seed1", "cifar10/paper/plain56"]
    assert last == "2 of 3 runs damaged"
    for arguments in (
        ("report",),
        ("check", "reference=runs"),
        ("collect", "name=paper"),
        ("diagnose", "model=plain32"),
    ):
        caplog.clear()
        try:
            here(*arguments)
        except UserError:
            assert arguments[0] == "diagnose"
        assert f"{Path('runs', *lost.parts[-4:])}/config.yaml: Too many levels of symbolic links" in caplog.text
        assert "plain56/config.yaml: no such file" in caplog.text
    with pytest.raises(UserError, match=r"no finished run.*there \(2 could not be read: .*seed1.*symbolic links"):
        here("export", "model=plain110")


@pytest.mark.skipif(not os.geteuid(), reason="root may look everywhere")
def test_a_folder_without_permission_is_named(status_of_damage: Here, lost: Path) -> None:
    lost.unlink()
    shutil.copytree(lost.with_name("seed0"), lost)
    lost.chmod(0)
    assert "seed1/config.yaml: Permission denied" in status_of_damage()
    lost.chmod(0o700)


def test_a_place_that_cannot_be_is_one_failure_of_a_sweep(here: Here, status_of_damage: Here, tmp_path: Path) -> None:
    long = "x" * 256
    for verb in (("train", *TINY), ("train", *TINY, "plan=true"), ("train", *TINY, "fresh=true")):
        if "plan=true" in verb:
            assert "would fail" in here(*verb, f"runs={long}")
        else:
            with pytest.raises(UserError, match="File name too long"):
                here(*verb, f"runs={long}")
    with pytest.raises(UserError, match="1 of 2 runs failed"):
        here("train", "-m", *TINY, f"runs={long},ok")
    assert len(find_runs(tmp_path / "ok")) == 1
    assert "File name too long" in status_of_damage(f"runs={long}")
    with pytest.raises(UserError, match="File name too long"):
        here("report", f"runs={long}")


def test_the_files_of_another_seed_are_refused_by_every_verb(
    calm: Calm, here: Here, status_of_damage: Here, runs: Path
) -> None:
    run = Run(copied(calm.config, runs).directory)
    other = compose(*SHORT, "seed=1", f"runs={runs}")
    finishes_first = Run(other.directory)
    here("train", *SHORT, "seed=1", f"runs={runs}")
    for name in ("run.json", "history.csv"):
        shutil.copy(finishes_first.directory / name, run.directory / name)
    assert "1 of 2 runs damaged" in status_of_damage(f"runs={runs}")
    assert [one.seed for one in load_study(runs).finished] == [1]
    for arguments in (("train", *SHORT, f"runs={runs}"), ("evaluate", f"runs={run}", "device=cpu")):
        with pytest.raises(UserError, match=OTHER_SETTINGS + ".*delete it to resume from the checkpoint.*fresh=true"):
            here(*arguments)
    run.record_file.unlink()
    finishes_as(at_runs(calm.config, runs), calm.outcome)


def test_a_run_of_a_version_without_the_digest_is_resumed_and_gets_it(calm: Calm, runs: Path) -> None:
    config = at_runs(calm.config, runs)
    interrupt(config, 7)
    run = Run(config.directory)

    def written_before() -> None:
        content = json.loads(run.record_file.read_text())
        del content["config_sha256"], content["sha256"]
        run.record_file.write_text(json.dumps(content | {"sha256": digest(json.dumps(content))}))

    written_before()
    assert run.record().config_sha256 == ""
    finishes_as(config, calm.outcome)
    assert len(run.record().config_sha256) == 64
    written_before()
    assert run.is_done(config)


def test_a_configuration_deleted_in_mid_training_is_put_back(calm: Calm, disturbed: Config) -> None:
    run = Run(disturbed.directory)
    with after(7, lambda _: run.config_file.unlink()):
        assert not refusal(disturbed)
    assert run.config()["result"] == disturbed.result()
    finishes_as(disturbed, calm.outcome)


def test_fresh_behind_links_keeps_the_old_run_where_it_was_named(
    here: Here, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "far").mkdir()
    place = Path("runs", *compose(*TINY).directory.parts[-4:])
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).symlink_to(tmp_path / "far")
    for _ in range(2):
        caplog.set_level(logging.INFO, "resexp")
        here("train", *TINY, "fresh=true")
    (kept,) = tmp_path.glob("*-replaced/*/*/*/*/*/run.json")
    assert kept.is_relative_to(tmp_path / "runs-replaced" / place.relative_to("runs"))
    assert sorted(path.name for path in (tmp_path / "far").iterdir())[0] == ".lock"


def test_killed_while_the_old_run_is_put_aside_it_stays_in_one_piece(
    calm: Calm, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(list(calm.config.directory.iterdir())) - 1
    for number in range(count):
        config = copied(calm.config, runs / str(number) / "runs")
        run, moves = Run(config.directory), 0
        names = {path.name for path in run.directory.iterdir()} - {".lock"}

        def killed(source: Path, target: Path, number: int = number) -> None:
            nonlocal moves
            if moves == number:
                raise KeyboardInterrupt
            moves += 1
            MOVE(source, target)

        with monkeypatch.context() as patched:
            patched.setattr("shutil.move", killed)
            with pytest.raises(KeyboardInterrupt):
                run.put_aside()
        if number:
            assert "config.yaml is missing" in refusal(config)
        run.put_aside()
        (kept,) = (runs / str(number) / "runs-replaced").glob("*/*/*/*/*")
        assert {path.name for path in kept.iterdir()} == names
        assert not kept.name.endswith(".part")

import csv
import gc
import itertools
import logging
import math
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import Here
from faulty import after, finishes_as, interrupt, outcome

from resexp.config.compose import compose
from resexp.config.settings import DataConfig
from resexp.data.dataset import Dataset
from resexp.data.load import load
from resexp.errors import Busy, Interrupted, UserError
from resexp.storage import checkpoint, history, timing
from resexp.storage.run import FAILED, FINISHED, INTERRUPTED, Run
from resexp.training import crowd
from resexp.training.recorder import Recorder
from resexp.training.train import train
from resexp.training.trainer import Trainer


@pytest.fixture
def undisturbed(tiny: tuple[str, ...], tmp_path: Path) -> tuple[bytes, str]:
    config = compose(*tiny, f"runs={tmp_path / 'undisturbed'}")
    train(config)
    return outcome(config)


def test_a_run_leaves_its_curve_its_record_and_its_settings(tiny: tuple[str, ...], runs: Path) -> None:
    config = compose(*tiny, "model=plain20")
    record = train(config)
    run = Run(config.directory)
    assert run.directory.parent.parent == runs / "shapes" / "quick"
    rows = run.rows(record)
    assert [row.iteration for row in rows] == [2, 4, 6, 8, 10, 12]
    assert [row.iteration for row in rows if row.test_error is not None] == [4, 8, 12]
    assert [row.iteration for row in rows if row.clean_train_error is not None] == [6, 10, 12]
    assert rows[-1].epoch == 12 * 20 / 96
    assert [row.learning_rate for row in rows[1:4]] == [config.recipe.lr] * 2 + [config.recipe.lr * 0.1]
    assert record.state == FINISHED
    assert record.final["running_error"] == history.running_error(rows, 12)
    assert record.final["test_error"] == rows[-1].test_error
    session = record.sessions[0]
    assert (session["from"], session["to"], session["threads"]) == (0, 12, 1)
    assert session["torch"] == torch.__version__
    assert session["peak_memory_mb"] is None  # there is none to tell on a CPU
    assert record.data["digest"]
    assert run.config()["result"] == config.result()
    assert [line.iteration for line in timing.read(run.timing_file)] == [2, 4, 6, 8, 10, 12]


def test_the_same_settings_give_the_same_bytes(tiny: tuple[str, ...], undisturbed: tuple[bytes, str]) -> None:
    config = compose(*tiny)
    train(config)
    assert outcome(config) == undisturbed


def test_another_seed_gives_another_curve(tiny: tuple[str, ...], undisturbed: tuple[bytes, str]) -> None:
    config = compose(*tiny, "seed=1")
    train(config)
    assert outcome(config)[0] != undisturbed[0]


@pytest.mark.parametrize("iteration", [1, 2, 3, 6, 11, 12])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    tiny: tuple[str, ...], undisturbed: tuple[bytes, str], iteration: int, number: int
) -> None:
    config = compose(*tiny)
    before = signal.getsignal(number)
    assert interrupt(config, iteration, number) == 128 + number
    record = Run(config.directory).record()
    assert (record.state, record.iteration) == (INTERRUPTED, iteration)
    assert signal.getsignal(number) is before
    train(config)
    record = Run(config.directory).record()
    assert record.state == FINISHED
    assert [(one["from"], one["to"]) for one in record.sessions] == [(0, iteration), (iteration, 12)]
    assert outcome(config) == undisturbed
    timed = timing.read(Run(config.directory).timing_file)
    start_up_alone = iteration + 1
    assert [line.iteration for line in timed] == [row for row in range(2, 14, 2) if row != start_up_alone]
    assert sorted(line.seconds for line in timed) == [line.seconds for line in timed]


def test_a_signal_while_a_run_finishes_still_ends_the_process(
    tiny: tuple[str, ...], undisturbed: tuple[bytes, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, finish = compose(*tiny), Recorder.finish

    def signal_and_finish(self: Recorder) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        finish(self)

    monkeypatch.setattr(Recorder, "finish", signal_and_finish)
    with pytest.raises(Interrupted):  # or a sweep would go on to its next run
        train(config)
    assert Run(config.directory).record().state == FINISHED
    assert outcome(config) == undisturbed


def test_lost_checkpoints_are_told_before_a_run_starts_over(
    tiny: tuple[str, ...], undisturbed: tuple[bytes, str], caplog: pytest.LogCaptureFixture
) -> None:
    config = compose(*tiny)
    interrupt(config, 7)
    Run(config.directory).checkpoint_file.unlink()
    finishes_as(config, undisturbed)
    assert f"{config.directory}: no checkpoint left of its 7 iterations; starting over" in caplog.messages


def test_a_run_with_a_checkpoint_after_every_iteration_is_the_same_run(
    tiny: tuple[str, ...], undisturbed: tuple[bytes, str]
) -> None:
    config = compose(*tiny, "checkpoint_seconds=0")
    train(config)
    assert outcome(config) == undisturbed
    assert Run(config.directory).previous_checkpoint_file.exists()


def test_a_finished_run_is_left_alone(tiny: tuple[str, ...]) -> None:
    config = compose(*tiny)
    train(config)
    before = {path: path.read_bytes() for path in config.directory.iterdir()}
    train(compose(*tiny))
    assert {path: path.read_bytes() for path in config.directory.iterdir()} == before


def test_fresh_starts_over_and_keeps_the_old_run(tiny: tuple[str, ...], runs: Path) -> None:
    config = compose(*tiny)
    train(config)
    old = Run(config.directory).history_file.read_bytes()
    record = train(compose(*tiny, "fresh=true"))
    assert record.sessions[0]["from"] == 0
    kept = list((runs.parent / "runs-replaced").rglob("history.csv"))
    assert [path.read_bytes() for path in kept] == [old]


def test_fresh_works_in_the_folder_of_runs_itself(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for fresh in (False, True):
        train(compose(*tiny, "runs=.", f"fresh={fresh}"))
    assert len(list((tmp_path / "here-replaced").rglob("history.csv"))) == 1


def test_a_directory_has_one_writer(tiny: tuple[str, ...]) -> None:
    config = compose(*tiny)
    run = Run(config.directory)
    with run.claimed():
        assert run.in_use()
        with pytest.raises(Busy, match="another process"):
            train(config)
    assert not run.in_use()


def test_start_up_is_told_apart_from_speed(tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose(*tiny, "recipe.iterations=6", "recipe.row_every=2")
    advance, clock, passed = Trainer.advance, time.monotonic, [0.0]

    def slow_at_first(self: Trainer) -> None:
        passed[0] = 9999.0  # compiling, tuning and recording at first use
        advance(self)

    monkeypatch.setattr(time, "monotonic", lambda: clock() + passed[0])
    monkeypatch.setattr(Trainer, "advance", slow_at_first)
    session = train(config).sessions[0]
    assert session["seconds_startup"] > 9999
    assert session["seconds"] < 9999
    run = Run(config.directory)
    first = next(csv.DictReader(run.timing_file.read_text().splitlines()))
    assert float(first["seconds"]) < 9999
    assert float(first["images_per_second"]) > 20 / 9999
    assert "of start-up, training error" in run.log_file.read_text()


def test_a_row_that_is_start_up_alone_has_no_speed(tiny: tuple[str, ...]) -> None:
    config = compose(*tiny, "recipe.iterations=3", "recipe.row_every=1", "recipe.drops=[]")
    record = train(config)
    run = Run(config.directory)
    assert [row.iteration for row in run.rows(record)] == [1, 2, 3]
    assert [row["iteration"] for row in csv.DictReader(run.timing_file.read_text().splitlines())] == ["2", "3"]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_names_the_settings_to_change_and_keeps_the_checkpoint(
    tiny: tuple[str, ...], undisturbed: tuple[bytes, str], error: Exception
) -> None:
    config = compose(*tiny, "checkpoint_seconds=0")

    def exhaust(_: Trainer) -> None:
        raise error

    with after(8, exhaust), pytest.raises(UserError, match=r"out of memory; use a smaller recipe\.batch_size"):
        train(config)
    run = Run(config.directory)
    assert run.record().state == FAILED
    assert checkpoint.load(run.checkpoint_file)["iteration"] == 7
    train(config)
    assert outcome(config) == undisturbed


def test_a_network_whose_last_step_leads_nowhere_has_not_finished(tiny: tuple[str, ...]) -> None:
    once = ("recipe.iterations=1", "recipe.row_every=1", "recipe.evaluate_every=1", "recipe.drops=[]")
    config = compose(*tiny, *once, "recipe.lr=1e30", "precision=fp32")
    with pytest.raises(UserError, match=r"not finite .*; use recipe\.lr below"):
        train(config)
    assert Run(config.directory).record().state == FAILED


@pytest.mark.parametrize(("seconds", "when", "kept"), [(0, "at iteration 7", 6), (1000, "within iterations 7 to 8", 0)])
def test_a_loss_that_is_not_finite_fails_the_run_and_keeps_its_checkpoint(
    tiny: tuple[str, ...], seconds: int, when: str, kept: int
) -> None:
    config = compose(*tiny, f"checkpoint_seconds={seconds}")

    def diverge(trainer: Trainer) -> None:
        trainer.loss_sum += math.nan

    with after(7, diverge), pytest.raises(UserError, match=rf"not finite {when}; use recipe\.lr below"):
        train(config)
    run = Run(config.directory)
    assert run.record().state == FAILED
    assert when in str(run.record().error)
    assert run.checkpoint_file.exists() == (kept > 0)
    assert not kept or checkpoint.load(run.checkpoint_file)["iteration"] == kept
    assert "Traceback" in run.log_file.read_text()
    assert train(config).state == FINISHED


def test_without_a_usable_checkpoint_a_run_refuses_and_names_the_files(tiny: tuple[str, ...]) -> None:
    config = compose(*tiny, "checkpoint_seconds=0")
    interrupt(config, 7)
    run = Run(config.directory)
    for path in run.checkpoint_files:
        path.write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"checkpoint\.pt.*checkpoint\.previous\.pt.*fresh=true"):
        train(config)
    assert run.checkpoint_file.read_bytes() == b"damaged"


def test_a_run_refuses_images_it_was_not_trained_on(tiny: tuple[str, ...]) -> None:
    config = compose(*tiny)
    interrupt(config, 3)
    run = Run(config.directory)
    record = run.record()
    record.data["digest"] = "0" * 64
    run.write_record(record)
    with pytest.raises(UserError, match="not the images"):
        train(config)


def test_other_settings_in_the_same_directory_are_refused_by_name(tiny: tuple[str, ...]) -> None:
    config = compose(*tiny)
    train(config)
    other = replace(compose(*tiny, "recipe.momentum=0.8", "data.noise=0.1"), directory=config.directory)
    with pytest.raises(UserError, match=r"data\.noise, recipe\.momentum.*runs=PATH"):
        train(other)


def test_the_warm_up_ends_for_good_when_the_error_has_fallen(tiny: tuple[str, ...]) -> None:
    config = compose(*tiny, "recipe.warmup=always", "recipe.warmup_lr=0.001", "recipe.warmup_error=0.999")
    rows = Run(config.directory).rows(train(config))
    assert rows[0].learning_rate == 0.001
    assert rows[1].learning_rate == config.recipe.lr
    never = compose(*tiny, "recipe.warmup=always", "recipe.warmup_lr=0.001", "recipe.warmup_error=0.001")
    rows = Run(never.directory).rows(train(never))
    assert [row.learning_rate for row in rows] == pytest.approx([0.001] * 5 + [0.0001])  # behind the last drop


@pytest.mark.parametrize(("threads", "lost", "told"), [(2, 9e9, 1), (2, 0, 0), (1, 9e9, 0)])
def test_a_run_whose_threads_wait_for_cores_says_so_once(
    tiny: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    threads: int,
    lost: float,
    told: int,
) -> None:
    monkeypatch.setattr(crowd, "AFTER", 0.0)
    monkeypatch.setattr(crowd, "losses", itertools.count(0, lost).__next__)
    train(compose(*tiny, f"threads={threads}"))
    said = [line for line in caplog.messages if "threads wait for cores that other work uses" in line]
    assert len(said) == told
    assert all("threads=1" in line for line in said)


def test_training_learns(tiny: tuple[str, ...]) -> None:
    config = compose(*tiny, "recipe.iterations=150", "recipe.drops=[]", "recipe.lr=0.1", "data.noise=0")
    record = train(config)
    assert record.final["running_error"] < 0.5


def test_other_images_are_noticed_by_the_checkpoint_alone(
    tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose(*tiny)
    interrupt(config, 7)
    Run(config.directory).record_file.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(Dataset, "digest", "another")
        with pytest.raises(UserError, match=r"data=shapes: not the images that .* was trained on"):
            train(config)
    assert train(config).state == FINISHED


def test_fresh_puts_aside_whatever_is_left_of_a_run(tiny: tuple[str, ...]) -> None:
    run = Run(compose(*tiny).directory)
    train(compose(*tiny))
    run.config_file.unlink()
    run.record_file.unlink()
    with pytest.raises(UserError, match="fresh=true"):
        train(compose(*tiny))
    assert train(compose(*tiny, "fresh=true")).state == FINISHED


def test_a_run_that_is_over_leaves_the_memory_to_the_next_one_of_its_sweep(
    here: Here, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[int] = []

    def counting(config: DataConfig) -> Dataset:
        alive.append(sum(type(one) is Trainer for one in gc.get_objects()))
        return load(config)

    monkeypatch.setattr("resexp.training.train.load", counting)
    monkeypatch.setattr("resexp.training.train.log", logging.Logger("unheard"))  # else pytest keeps its frames
    for kind in (UserError, ValueError):

        def fail(self: Trainer, kind: type[Exception] = kind) -> None:
            raise kind("stop")

        with monkeypatch.context() as patched:
            patched.setattr(Trainer, "advance", fail)
            with pytest.raises(UserError, match="2 of 2 runs failed"):
                here("train", "-m", *tiny, "seed=0,1")
    here("train", "-m", *tiny, "seed=0,1")
    assert alive == sorted(alive, reverse=True)  # what earlier tests hold may go, nothing is added

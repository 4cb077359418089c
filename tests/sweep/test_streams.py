"""Runs in turn in one process give what each gives alone; one that fails or is stopped leaves the others whole."""

import logging
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
import torch
from conftest import TINY, Here, assert_interrupted

from resexp.config.compose import compose
from resexp.config.settings import Config
from resexp.errors import UserError
from resexp.model.cost import device_memory
from resexp.storage import checkpoint
from resexp.storage.run import FAILED, FINISHED, Run, find_runs
from resexp.sweep import streams
from resexp.training import device, trainer
from resexp.training.turns import Turns, pass_turn

STREAMS = ("train", "-m", "hydra/launcher=streams", *TINY)
ON_A_GPU = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]


def test_threads_have_their_turns_in_order_and_one_at_a_time() -> None:
    turns, said = Turns(), list[str]()

    def work(name: str, times: int) -> None:
        with turns.taking_part():
            for _ in range(times):
                said.append(name)
                pass_turn()

    with turns.taking_part():
        threads = [Thread(target=work, args=(name, times)) for name, times in (("a", 3), ("b", 1), ("c", 2))]
        for thread in threads:
            thread.start()
            time.sleep(0.05)  # it waits in the queue then
    for thread in threads:
        thread.join(10)
    assert "".join(said) == "abcaca"
    pass_turn()  # outside, there is nobody to pass it to


@pytest.mark.parametrize(
    ("device", "engine"),
    [
        ("cpu", "eager"),
        *(pytest.param("cuda", engine, marks=ON_A_GPU) for engine in ("eager", "graph", "compile+graph")),
    ],
)
def test_runs_in_turn_give_the_bytes_of_runs_alone(here: Here, tmp_path: Path, device: str, engine: str) -> None:
    same = (f"device={device}", f"engine={engine}", "deterministic=true", "model=plain20,resnet20", "seed=0,1")
    order: list[str] = []
    advance = trainer.Trainer.advance

    def watched(self: trainer.Trainer) -> None:
        order.append(f"{self.config.model.residual} {self.config.seed}")
        advance(self)

    if device == "cuda":  # where a graph holds more than a few small kernels
        size = ("data.train_images=1000", "data.image_size=32", "recipe.batch_size=128", "model.depth=20")
        same = (*same, *size)
    here("train", "-m", *TINY, *same, "runs=alone", "hydra/launcher=basic")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.Trainer, "advance", watched)
        said = here(*STREAMS, *same, "runs=together", "hydra.launcher.at_once=3")
    assert said.count("  finished, training error") == 4
    first, second, third, _ = dict.fromkeys(order)
    assert {first, second} < set(order[order.index(third) :]), "three runs were to take turns"
    runs = find_runs(tmp_path / "alone")
    assert len(runs) == 4
    for run in runs:
        other = Run(tmp_path / "together" / run.directory.relative_to(tmp_path / "alone"))
        assert other.history_file.read_bytes() == run.history_file.read_bytes()
        weights, same_weights = (checkpoint.load(one.checkpoint_file)["network"] for one in (run, other))
        assert all(torch.equal(weights[name], same_weights[name]) for name in weights)
        name = run.directory.name
        assert other.log_file.read_text().count(f"{name}: finished in") == 1
        lines = other.log_file.read_text().splitlines()
        assert all(f"/{name}: " in line or " rate" in line for line in lines), "the log of another run is in this one"


def test_a_sweep_shares_a_gpu_by_itself_unless_a_launcher_is_asked_for(
    here: Here, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "resexp")
    asked: list[list[Config]] = []

    def there_is_one(configs: list[Config]) -> bool:
        asked.append(configs)
        return True

    monkeypatch.setattr(streams, "worthwhile", there_is_one)
    launched: list[int] = []

    def noted(configs: list[Config], wanted: int) -> int:
        launched.append(wanted)
        return fitting(configs, wanted)

    fitting = streams.fitting
    monkeypatch.setattr(streams, "fitting", noted)
    sweep = ("train", "-m", *TINY, "model=plain20")
    assert here(*sweep, "seed=0,1").count("  finished, training error") == 2
    assert (launched, len(asked)) == ([12], 1)
    assert "several runs at once on the GPU; hydra/launcher=basic trains one after another" in caplog.messages
    here(*sweep, "seed=2,3", "hydra/launcher=basic")
    here(*sweep, "seed=0,1")  # nothing is left to do
    with pytest.raises(UserError, match=r"hydra\.launcher\.at_once=-1: must be a number from 1 on"):
        here(*sweep, "seed=4,5", "hydra.launcher.at_once=-1")
    assert (launched, len(asked)) == ([12], 1)


@pytest.mark.parametrize(
    ("settings", "runs", "cuda", "expected"),
    [((), 2, True, True), ((), 1, True, False), ((), 2, False, False), (("device=cpu",), 2, True, False)],
)
def test_several_runs_on_a_gpu_are_worth_sharing_it(
    monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], runs: int, cuda: bool, expected: bool
) -> None:
    def pretended(_: Config) -> device.Execution:
        return device.Execution(torch.device("cuda" if cuda else "cpu"), "bf16", 1)

    monkeypatch.setattr(device, "prepare", pretended)
    tiny = [setting for setting in TINY if not setting.startswith("device")]
    assert streams.worthwhile([compose(*tiny, *settings)] * runs) is expected


def test_runs_in_two_precisions_do_not_share_a_gpu() -> None:
    tiny = [setting for setting in TINY if not setting.startswith(("device", "precision"))]
    assert not streams.worthwhile([compose(*tiny, f"precision={name}") for name in ("fp32", "bf16")])


def with_free(monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
    """Let the device have so many bytes."""

    def stand_in(_: device.Execution) -> int | None:
        return free

    monkeypatch.setattr(device.Execution, "free_memory", stand_in)


@pytest.mark.parametrize(("large_ones", "at_once"), [(None, 3), (3.0, 3), (2.9, 2), (0.1, 1)])
def test_as_many_runs_as_fit_into_memory_train_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, large_ones: float | None, at_once: int
) -> None:
    caplog.set_level(logging.INFO, "resexp")
    small, large = (compose(*TINY, f"model.width={width}", "precision=fp32") for width in (1, 4))
    needed = sum(device_memory(large).values()) / streams.USABLE
    with_free(monkeypatch, None if large_ones is None else round(large_ones * needed) + 1)
    assert streams.fitting([small, small, large, large, large], 3) == at_once
    line = rf"hydra\.launcher\.at_once: {at_once} of 5 runs at once, .* MB of memory are free; the others follow"
    assert re.fullmatch(line if at_once < 3 else "", caplog.messages[0] if caplog.messages else "")


def test_more_runs_than_pytorch_has_streams_follow_each_other(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "resexp")
    assert streams.fitting([compose(*TINY)] * 40, 40) == 32
    assert caplog.messages == [
        "hydra.launcher.at_once: 32 of 40 runs at once, PyTorch has no more streams; the others follow"
    ]


def test_runs_that_do_not_fit_at_once_are_all_trained(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "resexp")
    with_free(monkeypatch, 1)
    here(*STREAMS, "seed=0,1,2")
    assert "1 of 3 runs at once" in caplog.text
    assert [run.record().state for run in find_runs(tmp_path / "runs")] == [FINISHED] * 3


def test_a_run_that_fails_leaves_the_others_whole(here: Here, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 of 3 runs failed"):
        here(*STREAMS, "recipe.batch_size=20,97,12")
    states = [run.record().state for run in find_runs(tmp_path / "runs") if run.record_file.exists()]
    assert states.count(FINISHED) == 2


def test_each_run_tells_how_it_ended_although_hydra_forgets_its_settings_at_the_first_end(tmp_path: Path) -> None:
    """In a process of its own: in this one Hydra has settings from elsewhere."""
    command = [sys.executable, "-m", "resexp", *STREAMS, "hydra.launcher.at_once=3"]
    done = subprocess.run(
        [*command, "recipe.lr=0.01,0.02,1e30"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("  finished, training error") == 2, done.stderr
    assert "the loss is not finite" in done.stderr.rpartition("seed0  failed: ")[2]


def test_a_signal_lets_every_run_save_and_the_same_command_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "resexp", *STREAMS, "hydra.launcher.at_once=2", "seed=0,1,2"]
    command.append("recipe.iterations=1000000")
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    while sum(path.read_text().count("\n") > 1 for path in tmp_path.rglob("history.csv")) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "Traceback" not in output
    runs = find_runs(tmp_path)
    assert len(runs) == 2
    assert_interrupted(runs)


GPU_FAILS = """
from resexp.cli import main
from resexp.training.trainer import Trainer

def advance(self, whole=Trainer.advance):
    if (self.config.seed, self.iteration) == (1, 5):
        raise RuntimeError("CUDA error: unspecified launch failure\\nand much more")
    assert self.iteration < 7, "it went on in a broken process"
    whole(self)

Trainer.advance = advance
main()
"""


@pytest.mark.parametrize(("launcher", "begun"), [("streams", 3), ("basic", 2)])
def test_a_process_that_can_compute_no_more_ends_at_once_and_no_run_is_lost(
    tmp_path: Path, launcher: str, begun: int
) -> None:
    """In a process of its own, since it must also come to its end."""
    sweep = ("train", "-m", *TINY, f"hydra/launcher={launcher}", "checkpoint_seconds=0")
    program = GPU_FAILS if launcher == "streams" else GPU_FAILS.replace("< 7", "< 7 or self.config.seed == 0")
    command = [sys.executable, "-c", program, *sweep, "seed=0,1,2,3"]
    command += ["hydra.launcher.at_once=3"] * (launcher == "streams")
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    line = "the GPU failed (CUDA error: unspecified launch failure); the same command goes on from the last checkpoint"
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == f"resexp: {line}"
    assert "Traceback" not in done.stderr
    runs = find_runs(tmp_path)
    assert len(runs) == begun, "another run began"
    for run in runs:
        record = run.record()
        if record.state != FINISHED:
            assert (record.state, record.error) == (FAILED, line)
            assert checkpoint.load(run.checkpoint_file)["iteration"] == record.iteration


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["experiment=a,b"], r"precision=bf16,fp32: hydra/launcher=streams needs one for all runs"),
        (["hydra.launcher.at_once=0"], r"hydra\.launcher\.at_once=0: must be a number from 1 on"),
    ],
)
def test_runs_that_cannot_share_a_process_are_refused(
    here: Here, tmp_path: Path, arguments: list[str], line: str
) -> None:
    (tmp_path / "experiment").mkdir()
    for name, precision, seed in (("a", "fp32", 0), ("b", "bf16", 1)):
        preset = f"# @package _global_\nprecision: {precision}\nseed: {seed}\n"
        (tmp_path / "experiment" / f"{name}.yaml").write_text(preset)
    arguments = [f"--config-dir={tmp_path}", *arguments]
    with pytest.raises(UserError, match=line):
        here(*STREAMS, *arguments)

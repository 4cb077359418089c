"""A run's directory: what lies there is what was written, or it is named; one process at a time writes to it."""

import errno
import fcntl
import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest

from resexp.analysis.rerun import changes
from resexp.config.compose import compose
from resexp.errors import Busy, UserError
from resexp.storage import history
from resexp.storage.run import FAILED, FINISHED, Record, Run, find_runs
from resexp.system import lock

ROWS = [history.Row(100, 0.256, 0.1, 2.0, 0.75), history.Row(200, 0.512, 0.1, 1.5, 0.5)]
NEXT_ROW = history.Row(300, 0.768, 0.1, 1.4, 0.4)
NOT_MEASURED = r"history\.csv is not what was measured"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "runs" / "cifar10" / "paper" / "resnet20" / "seed0")
    run.directory.mkdir(parents=True)
    return run


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("run.json", text) for text in ("", "{", "[]", '{"state": 3}', '{"unknown": 1}', '{"state": "finishee"}')),
        *(("config.yaml", text) for text in ("", "a: [", "result: 3", "result: {model: 1}", "\0")),
    ],
)
def test_a_damaged_record_or_configuration_is_named(run: Run, name: str, content: str) -> None:
    (run.directory / name).write_text(content)
    with pytest.raises(UserError, match=f"{name} is damaged.*fresh=true"):
        run.record() if name == "run.json" else run.config()


def test_a_directory_that_is_no_run_is_named(run: Run) -> None:
    with pytest.raises(UserError, match=r"config\.yaml: no such file; is .* the directory of a run"):
        run.config()


def test_a_run_that_has_lost_its_configuration_is_not_taken_for_another(run: Run) -> None:
    run.write_record(Record(state=FINISHED))
    with pytest.raises(UserError, match=r"config\.yaml is missing or empty.*fresh=true"):
        run.identify(compose())


def test_rows_count_once_a_checkpoint_vouches_for_them_and_only_as_they_were_measured(run: Run) -> None:
    record = Record()
    run.write_history(record, ROWS)
    run.append_history(NEXT_ROW)
    assert run.rows(record) == ROWS
    run.history_file.write_text(run.history_file.read_text().replace("0.75", "0.15"))
    with pytest.raises(UserError, match=NOT_MEASURED):
        run.rows(record)


def test_a_run_is_complete_only_with_all_the_rows_that_it_measured_and_no_other(run: Run) -> None:
    record = Record(state=FINISHED)
    assert not run.is_complete(record)
    run.write_history(record, ROWS)
    assert run.is_complete(record)
    assert run.rows(record) == ROWS
    run.append_history(NEXT_ROW)
    for finished in (record, Record(state=FINISHED)):
        assert not run.is_complete(finished)
        with pytest.raises(UserError, match=NOT_MEASURED):
            run.rows(finished)


def damage_is_noticed(file: Path, count: int, read: Callable[[], object]) -> None:
    """Flip one bit at a time, at `count` random places and all over the last 90 bytes: nothing else is ever read."""
    whole, expected, chance = file.read_bytes(), read(), random.Random(0)
    for at in [*chance.sample(range(8 * len(whole)), count), *range(8 * len(whole) - 720, 8 * len(whole), 5)]:
        file.write_bytes(whole[: at // 8] + bytes([whole[at // 8] ^ 1 << at % 8]) + whole[at // 8 + 1 :])
        try:
            assert read() == expected
        except UserError as error:
            assert f"{file.name} is damaged" in str(error)  # noqa: PT017


def test_every_flipped_bit_of_a_record_or_a_configuration_is_noticed(run: Run) -> None:
    record = Record(FINISHED, 200, 200, {"error": 0.2}, None, 2, "a" * 64, {"classes": 10}, {}, [{"seconds": 2.0}])
    run.write_record(record)
    assert run.record() == record
    assert record.seconds == 2.0
    damage_is_noticed(run.record_file, 300, run.record)
    run.write_config(compose().content())
    damage_is_noticed(run.config_file, 100, run.config)


@pytest.mark.parametrize(
    "committed", find_runs(Path(__file__).parents[2] / "results"), ids=lambda run: "-".join(run.directory.parts[-4:])
)
def test_the_settings_of_committed_runs_are_those_of_today(committed: Run) -> None:
    """Or none of their checkpoints could be resumed, wherever they lie; weights that one started from may be gone."""
    result = committed.config()["result"]
    result["model"].pop("start", None)
    presets = [f"{group}={result[group]['name']}" for group in ("model", "data", "recipe")]
    assert compose(*presets, *changes(result).split(), f"seed={result['seed']}").result() == result


def test_another_initial_linear_layer_is_another_run(run: Run) -> None:
    run.write_config(compose().content())
    with pytest.raises(UserError, match=r"other settings \(model\.linear\)"):
        run.identify(compose("model.linear=he"))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_gives_a_warning(
    run: Run, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with caplog.at_level(logging.WARNING, "resexp"), run.claimed():
        assert not run.in_use()
    (message,) = caplog.messages
    assert message.startswith(f"{run}: this file system has no locks ({os.strerror(number)}); make sure")


def test_who_only_looks_does_not_make_a_directory_busy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.lock_file.touch()
    with run.lock_file.open() as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        monkeypatch.setattr("time.sleep", lambda seconds: fcntl.flock(reader, fcntl.LOCK_UN))  # pyright: ignore[reportUnknownLambdaType]
        with run.claimed():
            assert run.in_use()


def test_a_directory_is_free_again_after_its_writer_was_killed(run: Run) -> None:
    hold = "import pathlib, sys, time; from resexp.storage.run import Run\n"
    hold += "with Run(pathlib.Path(sys.argv[1])).claimed(): print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", hold, str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Busy, match="another process"), run.claimed():
            pass
        (run.directory / ".tmp-checkpoint.pt").touch()
        os.kill(process.pid, signal.SIGKILL)
    with run.claimed():
        assert not list(run.directory.glob(".tmp-*"))


def test_runs_are_found_wherever_they_lie(run: Run, tmp_path: Path) -> None:
    for file in (run.config_file, run.record_file):  # a run that has lost one of them is found, so that it can be named
        file.touch()
        assert [found.directory for found in find_runs(tmp_path)] == [run.directory]
        assert [found.directory for found in find_runs(run.directory)] == [run.directory]
        file.unlink()
    assert find_runs(tmp_path / "nowhere") == []


def test_rows_are_on_the_disk_before_the_record_vouches_for_them(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    record, waited = Record(), list[Path]()
    run.write_history(record, ROWS)
    run.append_history(NEXT_ROW)
    run.vouch(record, [*ROWS, NEXT_ROW])

    def wait(path: Path) -> None:
        assert not run.record_file.exists()
        waited.append(path)

    monkeypatch.setattr("resexp.storage.run.sync", wait)
    run.write_record(record)
    assert waited == [run.history_file]
    assert len(run.rows(run.record())) == 3


def test_a_failure_of_any_length_can_be_read_back(run: Run) -> None:
    record = run.record()
    record.state, record.error = FAILED, "x" * 20_000
    run.write_record(record)
    assert str(run.record().error).startswith("xxx")


def test_a_lock_that_was_taken_away_meanwhile_is_made_anew(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a process that was refused, and had nothing to write."""
    acquire = lock.acquire

    def acquire_late(file: TextIO, what: object) -> bool:
        taken = acquire(file, what)
        if not removed:
            run.lock_file.unlink()
            removed.append(1)
        return taken

    removed: list[int] = []
    monkeypatch.setattr(lock, "acquire", acquire_late)
    with run.claimed():
        assert run.in_use()
        (run.directory / "file").touch()
    assert run.lock_file.exists()

import errno
import fcntl
import json
import logging
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resexp.config.compose import compose
from resexp.errors import Busy, UserError
from resexp.storage import history
from resexp.storage.run import FINISHED, Record, Run, find_runs


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "runs" / "cifar10" / "paper" / "resnet20" / "seed0")
    run.directory.mkdir(parents=True)
    return run


ROWS = [history.Row(100, 0.256, 0.1, 2.0, 0.75), history.Row(200, 0.512, 0.1, 1.5, 0.5)]


def test_a_record_is_read_back_as_written(run: Run) -> None:
    record = Record(state=FINISHED, iteration=5, iterations=5, final={"test_error": 0.25}, sessions=[{"seconds": 2.0}])
    run.write_record(record)
    assert run.record() == record
    assert record.seconds == 2.0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": 3}', '{"unknown": 1}', '{"state": "finishee"}'])
def test_a_damaged_record_is_named(run: Run, content: str) -> None:
    run.record_file.write_text(content)
    with pytest.raises(UserError, match=r"run\.json is damaged.*fresh=true"):
        run.record()


@pytest.mark.parametrize("content", ["", "a: [", "result: 3", "result: {model: 1}", "\0"])
def test_a_damaged_configuration_is_named(run: Run, content: str) -> None:
    run.config_file.write_text(content)
    with pytest.raises(UserError, match=r"config\.yaml is damaged.*fresh=true"):
        run.config()


def test_a_directory_that_is_no_run_is_named(run: Run) -> None:
    with pytest.raises(UserError, match=r"config\.yaml: no such file; is .* the directory of a run"):
        run.config()


def test_a_lost_configuration_does_not_let_another_run_in(run: Run) -> None:
    run.write_record(Record(state=FINISHED))
    with pytest.raises(UserError, match=r"config\.yaml is missing or empty.*fresh=true"):
        run.identify(compose())


def test_rows_that_are_not_what_was_measured_are_told(run: Run) -> None:
    record = Record()
    run.write_history(record, ROWS)
    assert run.rows(record) == ROWS
    run.append_history(history.Row(300, 0.768, 0.1, 1.4, 0.4))
    assert run.rows(record) == ROWS, "a row counts when a checkpoint vouches for it"
    run.history_file.write_text(run.history_file.read_text().replace("0.75", "0.15"))
    with pytest.raises(UserError, match=r"history\.csv is not what was measured"):
        run.rows(record)


def test_the_rows_of_a_finished_run_are_all_vouched_for(run: Run) -> None:
    record = Record(state=FINISHED)
    run.write_history(record, ROWS)
    assert run.rows(record) == ROWS
    run.append_history(history.Row(300, 0.768, 0.1, 1.4, 0.4))
    with pytest.raises(UserError, match=r"history\.csv is not what was measured"):
        run.rows(record)
    with pytest.raises(UserError, match=r"history\.csv is not what was measured"):
        run.rows(Record(state=FINISHED))


def flips(text: bytes, count: int) -> list[bytes]:
    """The text with one bit flipped, at `count` random places and all over its last 90 bytes."""
    chance = random.Random(0)
    places = [*chance.sample(range(8 * len(text)), count), *range(8 * len(text) - 720, 8 * len(text), 5)]
    return [text[: at // 8] + bytes([text[at // 8] ^ 1 << at % 8]) + text[at // 8 + 1 :] for at in places]


def test_every_flipped_bit_of_a_record_is_noticed(run: Run) -> None:
    record = Record(
        FINISHED, 200, 200, {"test_error": 0.25}, None, 2, "a" * 64, {"classes": 10}, {}, [{"seconds": 2.0}]
    )
    run.write_record(record)
    for damaged in flips(run.record_file.read_bytes(), 300):
        run.record_file.write_bytes(damaged)
        try:
            assert run.record() == record
        except UserError as error:
            assert "run.json is damaged" in str(error)  # noqa: PT017


def test_every_flipped_bit_of_a_configuration_is_noticed(run: Run) -> None:
    run.write_config(compose().content())
    config = run.config()
    for damaged in flips(run.config_file.read_bytes(), 100):
        run.config_file.write_bytes(damaged)
        try:
            assert run.config() == config
        except UserError as error:
            assert "config.yaml is damaged" in str(error)  # noqa: PT017


def test_files_that_are_older_than_their_digests_are_read(run: Run) -> None:
    run.write_record(Record(state=FINISHED))
    content = json.loads(run.record_file.read_text())
    assert content.pop("sha256")
    run.record_file.write_text(json.dumps(content))
    assert run.record() == Record(state=FINISHED)
    run.record_file.unlink()
    run.write_config(compose().content())
    config = run.config()
    run.config_file.write_text("".join(run.config_file.read_text().splitlines(keepends=True)[:-1]))
    assert run.config() == config


@pytest.mark.parametrize(
    "found", find_runs(Path(__file__).parents[2] / "results"), ids=lambda run: "-".join(run.directory.parts[-4:])
)
def test_the_settings_of_committed_runs_are_those_of_today(found: Run) -> None:
    """Or none of their checkpoints would go on, wherever they lie."""
    labels, result = found.config()["labels"], found.config()["result"]
    presets = [f"{group}={labels[group]}" for group in ("model", "data", "recipe")]
    assert compose(*presets, f"seed={result['seed']}").result() == result


def test_another_initial_linear_layer_is_another_run(run: Run) -> None:
    run.write_config(compose().content())
    with pytest.raises(UserError, match=r"other settings \(model\.linear\)"):
        run.identify(compose("model.linear=he"))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_warned_of(
    run: Run, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with caplog.at_level(logging.WARNING, "resexp"), run.claimed():
        assert not run.in_use()
    (message,) = caplog.messages
    assert message.startswith(f"{run}: this file system gives no locks ({os.strerror(number)}); make sure")


def test_who_only_looks_does_not_make_a_directory_busy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.lock_file.touch()
    with run.lock_file.open() as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        monkeypatch.setattr("time.sleep", lambda seconds: fcntl.flock(reader, fcntl.LOCK_UN))  # pyright: ignore[reportUnknownLambdaType]
        with run.claimed():
            assert run.in_use()


def test_a_run_is_complete_only_with_the_curve_it_measured(run: Run) -> None:
    record = Record(state=FINISHED)
    assert not run.is_complete(record)
    run.write_history(record, ROWS)
    assert run.is_complete(record)
    run.history_file.write_text(run.history_file.read_text() + "300,1,1,1,1,,,,\n")
    assert not run.is_complete(record)


def test_a_directory_is_free_again_after_its_writer_was_killed(run: Run) -> None:
    hold = (
        "import sys, time, pathlib\n"
        "from resexp.storage.run import Run\n"
        f"with Run(pathlib.Path({str(run.directory)!r})).claimed():\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(Busy, match="another process"), run.claimed():
        pass
    (run.directory / ".tmp-checkpoint.pt").touch()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with run.claimed():
        assert not list(run.directory.glob(".tmp-*"))


def test_runs_are_found_wherever_they_lie(run: Run, tmp_path: Path) -> None:
    for file in (run.config_file, run.record_file):  # a run that has lost one of them is told of, not left out
        file.touch()
        assert [found.directory for found in find_runs(tmp_path)] == [run.directory]
        assert [found.directory for found in find_runs(run.directory)] == [run.directory]
        file.unlink()
    assert find_runs(tmp_path / "nowhere") == []


def test_this_room_needs_no_torch() -> None:
    code = "import sys, resexp.storage.run, resexp.storage.history; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

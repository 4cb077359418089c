"""A run's directory: which run it is, how far it came, who is writing to it, how it was made. No torch here."""

import fcntl
import json
import logging
import os
import shutil
import socket
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from resexp import history
from resexp.config import Config, differing
from resexp.errors import Busy, UserError
from resexp.files import remove_temporaries, write_text

log = logging.getLogger("resexp")

NEW, RUNNING, FINISHED, INTERRUPTED, FAILED = "new", "running", "finished", "interrupted", "failed"


@dataclass
class Record:
    """What run.json holds."""

    state: str = NEW
    iteration: int = 0
    iterations: int = 0
    final: dict[str, float] = field(default_factory=dict[str, float])
    """Figures of a finished run: running_error, train_loss, test_error, test_loss, clean_train_error, ..."""
    error: str | None = None
    """Why it failed, in one line."""
    rows: int = 0
    """Rows of history.csv that `history_sha256` vouches for."""
    history_sha256: str = ""
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    """Of the loaded data: name, digest, classes, train_images, test_images."""
    process: dict[str, Any] = field(default_factory=dict[str, Any])
    """Who is or was training: host, pid."""
    stretches: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """One entry per stretch of work: from, to, seconds (seconds_startup apart), peak_memory_mb, device, versions ..."""

    @property
    def seconds(self) -> float:
        """Time spent training, over all stretches."""
        return sum(stretch.get("seconds", 0.0) for stretch in self.stretches)


class Run:
    """One run's directory and the names of the files in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config_file = directory / "config.yaml"
        self.record_file = directory / "run.json"
        self.history_file = directory / "history.csv"
        self.timing_file = directory / "timing.csv"
        self.checkpoint_file = directory / "checkpoint.pt"
        self.previous_checkpoint_file = directory / "checkpoint.previous.pt"
        self.checkpoint_files = [self.checkpoint_file, self.previous_checkpoint_file]
        self.log_file = directory / "train.log"
        self.lock_file = directory / ".lock"

    def __str__(self) -> str:
        return str(self.directory)

    def config(self) -> dict[str, Any]:
        """What config.yaml holds: `result` (what decides the numbers) and `execution`.

        Raises UserError naming the file where it is missing or damaged.
        """
        try:
            content = yaml.safe_load(self.config_file.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError as error:
            raise UserError(f"{self.config_file}: no such file; is {self} the directory of a run?") from error
        except yaml.YAMLError as error:
            raise UserError(f"{self.config_file} is damaged; {start_over(self)}") from error
        result = content.get("result") if isinstance(content, dict) else None
        if not isinstance(result, dict) or not {"model", "data", "recipe", "seed"} <= result.keys():
            raise UserError(f"{self.config_file} is damaged; {start_over(self)}")
        return content

    def record(self) -> Record:
        """What run.json holds; a new record where there is none. Raises UserError naming the file if it is damaged."""
        try:
            record = Record(**json.loads(self.record_file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return Record()
        except (ValueError, TypeError) as error:
            raise UserError(f"{self.record_file} is damaged; {start_over(self)}") from error
        if record.state not in (NEW, RUNNING, FINISHED, INTERRUPTED, FAILED):
            raise UserError(f"{self.record_file} is damaged (state {record.state!r}); {start_over(self)}")
        return record

    def write_record(self, record: Record) -> None:
        """Replace run.json."""
        write_text(self.record_file, json.dumps(asdict(record), indent=1) + "\n")

    def rows(self, record: Record) -> tuple[list[history.Row], list[str]]:
        """The readable rows of history.csv, and a line for each that is damaged.

        Raises UserError where there is no history, or one that reads well and yet is not what run.json vouches for.
        """
        try:
            text = self.history_file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError as error:
            raise UserError(f"{self.history_file}: no such file") from error
        rows, problems = history.parse(text, str(self.history_file))
        whole = record.state == FINISHED
        vouched = text if whole else "".join(text.splitlines(keepends=True)[: record.rows + 1])
        if record.history_sha256 and not problems and history.digest(vouched) != record.history_sha256:
            raise UserError(f"{self.history_file} is not what was measured (its digest differs from run.json's)")
        return rows, problems

    def is_finished(self) -> bool:
        """Whether run.json says so."""
        try:
            return self.record().state == FINISHED
        except UserError:
            return False

    def is_complete(self, record: Record) -> bool:
        """Whether the run is finished and its curve is what was measured."""
        try:
            text = self.history_file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        return record.state == FINISHED and history.digest(text) == record.history_sha256

    def vouch(self, record: Record, rows: list[history.Row]) -> None:
        """Enter into the record that these rows are what was measured."""
        record.rows, record.history_sha256 = len(rows), history.digest(history.write(rows))

    def write_history(self, record: Record, rows: list[history.Row]) -> None:
        """Make history.csv hold exactly these rows."""
        write_text(self.history_file, history.write(rows))
        self.vouch(record, rows)

    def append_history(self, row: history.Row) -> None:
        """Add one row to history.csv."""
        with self.history_file.open("a", encoding="utf-8") as file:
            file.write(history.write([row]).partition("\n")[2])

    @contextmanager
    def logging(self) -> Generator[None, None, None]:
        """Write the log to train.log as well, with tracebacks."""
        handler = logging.FileHandler(self.log_file, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        handler.setLevel(logging.DEBUG)
        log.addHandler(handler)
        log.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            log.removeHandler(handler)
            handler.close()

    def identify(self, config: Config) -> None:
        """Make sure that what lies here is the run of `config`; write config.yaml where nothing lies.

        Raises UserError naming the keys that differ.
        """
        wanted = {"labels": config.labels, "result": config.result(), "execution": config.execution()}
        if self.config_file.exists() and self.config_file.stat().st_size:
            found = self.config()["result"]
            keys = differing(found, wanted["result"])
            if keys:
                raise UserError(
                    f"{self} holds a run with other settings ({', '.join(keys)}); "
                    "use another folder with runs=PATH, or fresh=true to put it aside and start over"
                )
        elif self.checkpoint_file.exists() or self.record_file.exists():
            raise UserError(f"{self.config_file} is missing or empty; {start_over(self)}")
        write_text(self.config_file, yaml.safe_dump(wanted, sort_keys=False))

    @contextmanager
    def claimed(self) -> Generator[None, None, None]:
        """Be the one writer of this directory. The lock is the kernel's: it goes with the process, however that ends.

        Raises Busy when another process holds it, UserError when the folder is not writable.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = self.lock_file.open("a")
        except OSError as error:
            problem = f"runs: cannot write to {self} ({error.strerror}); choose a folder with runs=PATH"
            raise UserError(problem) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Busy(f"{self} is being trained by another process") from error
            remove_temporaries(self.directory)
            yield

    def in_use(self) -> bool:
        """Whether a living process is writing here."""
        try:
            with self.lock_file.open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def put_aside(self, runs: Path) -> None:
        """Move what lies here into RUNS-replaced/, under its own path and the time."""
        if not self.record_file.exists() and not self.config_file.exists():
            return
        now = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        kept = runs.with_name(f"{runs.name}-replaced") / self.directory.relative_to(runs) / now
        kept.mkdir(parents=True)
        for path in sorted(self.directory.iterdir()):
            if path != self.lock_file:
                shutil.move(path, kept / path.name)
        log.info("%s: the old run is kept in %s", self, kept)


def start_over(run: Run) -> str:
    """The remedy for a directory that cannot be gone on with."""
    return f"train it again with fresh=true (what lies in {run} is kept)"


def find_runs(folder: Path) -> list[Run]:
    """All runs below a folder (or the folder itself, if it is one), in order of their paths."""
    return [Run(path.parent) for path in sorted(folder.rglob("config.yaml")) if not path.is_dir()]


def source_version() -> dict[str, Any]:
    """Commit and whether the tree was changed, where the package runs from a git checkout."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return {"commit": git("rev-parse", "HEAD"), "dirty": git("status", "--porcelain", "--", str(folder)) != ""}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def this_process() -> dict[str, Any]:
    """Host and pid of this process."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def utc_now() -> str:
    """The time, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")

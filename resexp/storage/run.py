"""A run's directory: which run it is, how far it came, who is writing to it, how it was made. No torch here."""

import json
import logging
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

import yaml

from resexp.config.settings import Config, differing
from resexp.errors import UserError
from resexp.formatting import natural
from resexp.storage import history
from resexp.system.files import append_text, digest, remove_temporaries, write_text, writing_to
from resexp.system.lock import hold, is_held

log = logging.getLogger("resexp")

SEAL = "# sha256: "
"""Begins the last line of config.yaml, which is the digest of the others."""

UNNAMED = "runs"
"""Stands for the folder of runs in a configuration that is published."""

NEW, RUNNING, FINISHED, INTERRUPTED, FAILED = "new", "running", "finished", "interrupted", "failed"


@dataclass
class Record:
    """What run.json holds."""

    state: str = NEW
    iteration: int = 0
    iterations: int = 0
    final: dict[str, float] = field(default_factory=dict[str, float])
    """Metrics of a finished run: running_error, train_loss, test_error, test_loss, clean_train_error, ..."""
    error: str | None = None
    """Why it failed, in one line."""
    rows: int = 0
    """The first rows of history.csv, whose digest is `history_sha256`."""
    history_sha256: str = ""
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    """Of the loaded data: name, digest, classes, train_images, test_images."""
    process: dict[str, Any] = field(default_factory=dict[str, Any])
    """Who is or was training: host, pid."""
    sessions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """One entry per session: from, to, seconds (seconds_startup apart), peak_memory_mb, device, versions ..."""
    start: dict[str, str] = field(default_factory=dict[str, str])
    """Where the weights came from that training began with, if not from the seed: file, sha256."""

    def is_sound(self) -> bool:
        """Whether every value has its type, as one that this program wrote has; a digest alone proves no origin."""
        values: dict[str, Any] = vars(self)
        whole = all(type(values[name]) is int and values[name] >= 0 for name in ("iteration", "iterations", "rows"))
        parts = all(isinstance(values[name], dict) for name in ("final", "data", "start", "process"))
        listed = isinstance(values["sessions"], list) and all(isinstance(one, dict) for one in values["sessions"])
        return (
            (whole and parts and listed and isinstance(values["history_sha256"], str))
            and self.state in (NEW, RUNNING, FINISHED, INTERRUPTED, FAILED)
            and all(type(one.get("seconds", 0.0)) in (int, float) for one in self.sessions)
        )

    @property
    def seconds(self) -> float:
        """Time spent training, over all sessions."""
        return sum(session.get("seconds", 0.0) for session in self.sessions)


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
        self.snapshot_folder = directory / "snapshots"
        self.log_file = directory / "train.log"
        self.lock_file = directory / ".lock"

    def __str__(self) -> str:
        return str(self.directory)

    def snapshot_file(self, iteration: int) -> Path:
        """Where the weights after an iteration are kept."""
        return self.snapshot_folder / f"{iteration:06d}.pt"

    def snapshots(self) -> list[int]:
        """The iterations whose weights were kept, in order."""
        return sorted(int(path.stem) for path in self.snapshot_folder.glob("*.pt") if path.stem.isdecimal())

    def config(self) -> dict[str, Any]:
        """What config.yaml holds: `labels`, `result` (what decides the numbers) and `execution`.

        Raises UserError naming the file where it is missing or damaged.
        """
        try:
            text, _, seal = self.config_file.read_text(encoding="utf-8", errors="replace").rpartition(SEAL)
        except FileNotFoundError as error:
            raise UserError(f"{self.config_file}: no such file; is {self} the directory of a run?") from error
        except OSError as error:
            raise UserError(f"{self.config_file}: {error.strerror}") from error
        if digest(text) != seal.strip():
            raise UserError(f"{self.config_file} is damaged or was edited; {start_over(self)}")
        return yaml.safe_load(text)

    def write_config(self, content: dict[str, Any]) -> None:
        """Replace config.yaml."""
        text = yaml.safe_dump(content, sort_keys=False)
        write_text(self.config_file, f"{text}{SEAL}{digest(text)}\n")

    def identify(self, config: Config) -> None:
        """Make sure that what lies here, if anything, is the run of `config`. Raises UserError naming what differs."""
        if self.config_file.exists() and self.config_file.stat().st_size:
            if keys := differing(self.config()["result"], config.result()):
                remedy = "use another folder with runs=PATH, or fresh=true to put it aside and start over"
                raise UserError(f"{self} holds a run with other settings ({', '.join(keys)}); {remedy}")
        elif self.checkpoint_file.exists() or self.record_file.exists():
            raise UserError(f"{self.config_file} is missing or empty; {start_over(self)}")

    def record(self) -> Record:
        """What run.json holds; a new record where there is none. Raises UserError naming the file if it is damaged."""
        try:
            content = json.loads(self.record_file.read_text(encoding="utf-8"))
            if content.pop("sha256") != digest(json.dumps(content)):
                raise ValueError("its content does not match its digest")
            record = Record(**content)
            if not record.is_sound():
                raise ValueError("a value of the wrong type")
            return record
        except FileNotFoundError:
            return Record()
        except OSError as error:
            raise UserError(f"{self.record_file}: {error.strerror}") from error
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            remedy = f"delete it to resume from the checkpoint, or {start_over(self)}"
            raise UserError(f"{self.record_file} is damaged or was edited; {remedy}") from error

    def write_record(self, record: Record) -> None:
        """Replace run.json."""
        content = asdict(record)
        content["sha256"] = digest(json.dumps(content))
        write_text(self.record_file, json.dumps(content, indent=1) + "\n")

    def rows(self, record: Record) -> list[history.Row]:
        """The rows of history.csv whose digest run.json has: while a run trains, those of its last checkpoint.

        Raises UserError where they are not there as they were measured.
        """
        if record.state != FINISHED and not record.history_sha256:
            return []
        try:
            text = self.history_file.read_text(encoding="utf-8", errors="replace")
            if record.state != FINISHED:
                text = "".join(text.splitlines(keepends=True)[: record.rows + 1])
            rows = history.parse(text, str(self.history_file))
            if digest(text) == record.history_sha256:
                return rows
            problem = f"{self.history_file} is not what was measured (run.json has another digest)"
        except OSError as error:
            problem = f"{self.history_file}: {error.strerror}"
        except UserError as error:
            problem = str(error)
        raise UserError(f"{problem}; the command that trained the run writes it again")

    def vouch(self, record: Record, rows: list[history.Row]) -> None:
        """Enter the number and the digest of the rows that were measured."""
        record.rows, record.history_sha256 = len(rows), digest(history.write(rows))

    def write_history(self, record: Record, rows: list[history.Row]) -> None:
        """Make history.csv hold exactly these rows."""
        write_text(self.history_file, history.write(rows))
        self.vouch(record, rows)

    def append_history(self, row: history.Row) -> None:
        """Add one row to history.csv."""
        append_text(self.history_file, history.write([row]).partition("\n")[2])

    def is_complete(self, record: Record) -> bool:
        """Whether the run is finished and its curve is what was measured."""
        try:
            return record.state == FINISHED and bool(self.rows(record))
        except UserError:
            return False

    def is_done(self, config: Config) -> bool:
        """Whether training `config` would change nothing. Raises UserError where another run lies here."""
        if config.fresh or not self.record_file.exists():
            return False
        self.identify(config)
        return self.is_complete(self.record()) and not self.in_use()

    def precision_told(self, config: Config) -> str:
        """What to add to "finished" where the run was trained in another precision than `config` wants; else empty."""
        trained = list(dict.fromkeys(str(session.get("precision")) for session in self.record().sessions))
        if config.precision == "auto" or trained in ([], [config.precision]):
            return ""
        return f", in {' and '.join(trained)} instead of {config.precision}; fresh=true or runs=PATH trains it again"

    @contextmanager
    def claimed(self) -> Generator[None, None, None]:
        """Be the one writer of this directory, until the end of the block or of the process.

        Raises Busy when another process is, UserError when the folder is not writable.
        """
        with writing_to("runs"):
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = self.lock_file.open("a")
        with lock:
            hold(lock, self)
            remove_temporaries(self.directory)
            yield

    def in_use(self) -> bool:
        """Whether a living process is writing here."""
        return is_held(self.lock_file)

    def put_aside(self) -> None:
        """Move what lies here into RUNS-replaced/, under its own path and the time."""
        files = [path for path in sorted(self.directory.iterdir()) if path != self.lock_file]
        if not files:
            return
        directory = self.directory.resolve()
        runs = directory.parents[3]
        now = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        kept = runs.with_name(f"{runs.name}-replaced") / directory.relative_to(runs) / now
        kept.mkdir(parents=True)
        for path in files:
            shutil.move(path, kept / path.name)
        log.info("%s: the old run is kept in %s", self, kept)


def start_over(run: Run) -> str:
    """The remedy for a run that cannot be resumed."""
    return f"train it again with fresh=true (what lies in {run} is kept)"


def without_places(config: dict[str, Any]) -> dict[str, Any]:
    """The content of config.yaml without the folders of the machine; it still composes to the same run."""
    result, execution = config["result"], config["execution"]
    data, places = result["data"], execution["data"]
    if "dir" in data:  # a folder of images is named by its path; its last part is enough
        result = {**result, "data": {**data, "dir": PurePath(data["dir"]).name}}
    places = {key: None if key in ("dir", "url") else value for key, value in places.items()}
    started = {"start": PurePath(execution["start"]).name} if "start" in execution else {}
    return {**config, "result": result, "execution": {**execution, **started, "runs": UNNAMED, "data": places}}


def no_runs(folder: Path, more: str = "", kind: str = "runs") -> UserError:
    """The refusal of a folder without runs of some kind; `more` is what else is known."""
    remedy = "train some with resexp train, or name their folder with runs=PATH"
    return UserError(f"runs={folder}: no {kind} there{more}; {remedy}")


def find_runs(folder: Path) -> list[Run]:
    """All runs below a folder (or the folder itself, if it is one), in order of their paths, seed2 before seed10.

    One that has lost config.yaml or run.json is still a run, so that it can be named.
    """
    found = {path.parent for name in ("config.yaml", "run.json") for path in folder.rglob(name) if not path.is_dir()}
    return [Run(directory) for directory in sorted(found, key=lambda path: natural(str(path)))]

"""A run's directory: which run it is, how far it came, who is writing to it, how it was made. No torch here."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

import yaml

from resexp.config.settings import Config, differing
from resexp.errors import UserError
from resexp.formatting import natural, printable
from resexp.storage import history
from resexp.system import schema
from resexp.system.files import (
    TEMPORARY,
    append_text,
    digest,
    folders,
    reading,
    sealed,
    sync,
    unsealed,
    write_text,
    writing_to,
)
from resexp.system.lock import hold, is_held

log = logging.getLogger("resexp")

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The fast one, where PyYAML was built with it."""

MARK = b"resexp-sha256:"
"""Stands between a checkpoint and its digest; `torch.load` reads the file as if neither were there."""

UNFINISHED = ".part"
"""Ends the name of a folder into which an old run is being put aside."""

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
    config_sha256: str = ""
    """Of the settings that decide the result; empty where a version wrote it that did not know of it yet."""
    start: dict[str, str] = field(default_factory=dict[str, str])
    """Where the weights came from that training began with, if not from the seed: file, sha256."""

    @property
    def seconds(self) -> float:
        """Time spent training, over all sessions."""
        return sum(session.get("seconds", 0.0) for session in self.sessions)


LONGEST_ERROR = 10_000
"""Characters of the cause of a failure that are kept; a compiler's have no bound."""
SESSION = {
    **dict.fromkeys(("from", "to"), schema.whole()),
    **dict.fromkeys(("seconds", "seconds_startup"), schema.number(0)),
    "threads": schema.whole(0, 2**31),
    **dict.fromkeys(("deterministic", "dirty"), schema.optional(schema.truth)),
    **dict.fromkeys(("peak_memory_mb", "cudnn"), schema.optional(schema.whole())),
    **dict.fromkeys(
        ("started", "device", "device_name", "cpu_model", "cpu_extensions", "precision", "engine"),
        schema.optional(schema.label),
    ),
    **dict.fromkeys(("python", "torch", "cuda", "resexp", "commit"), schema.optional(schema.label)),
}
"""What is known of a session, of training or of measuring."""
DATA = {
    "name": schema.label,
    "digest": schema.text(),
    **dict.fromkeys(("classes", "train_images", "test_images"), schema.whole(1)),
}
RECORD = schema.fields(
    {
        "state": schema.one_of(NEW, RUNNING, FINISHED, INTERRUPTED, FAILED),
        **dict.fromkeys(("iteration", "iterations", "rows"), schema.whole()),
        "final": schema.names(schema.number()),
        "error": schema.optional(schema.text(LONGEST_ERROR)),
        **dict.fromkeys(("history_sha256", "config_sha256"), schema.text(64)),
        "data": schema.fields(DATA, needed=()),
        "process": schema.fields({"host": schema.text(), "pid": schema.whole()}, needed=()),
        "start": schema.empty_or(schema.fields({"file": schema.text(10_000), "sha256": schema.text(64)})),
        "sessions": schema.each(schema.fields(SESSION, needed=())),
    },
    needed=(),
)
"""What run.json may hold: a digest alone proves no origin, and what is read is shown and computed with."""
CONFIG = schema.fields(
    {
        "labels": schema.names(schema.text()),
        "result": schema.names(schema.anything),
        "execution": schema.names(schema.anything),
    }
)
"""What config.yaml may hold; the rules of settings are `recorded`'s."""


REWRITTEN = "the command that trained the run writes it again"
"""What mends a damaged curve."""


class Run:
    """One run's directory and the names of the files in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._config = ""
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
            text = self.config_file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError as error:
            raise UserError(f"{self.config_file}: no such file; is {self} the directory of a run?") from error
        except OSError as error:
            raise UserError(f"{self.config_file}: {error.strerror}") from error
        try:
            content = plain_yaml(unsealed(text))
            CONFIG(content, "")
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            raise UserError(f"{self.config_file} is damaged or was edited; {start_over(self)}") from error
        return content

    def write_config(self, content: dict[str, Any]) -> str:
        """Replace config.yaml; the digest of its result, by which run.json knows it."""
        self._config = sealed(yaml.safe_dump(content, sort_keys=False))
        write_text(self.config_file, self._config)
        return result_digest(content["result"])

    def read(self) -> tuple[dict[str, Any], Record]:
        """What config.yaml and run.json hold.

        Raises UserError naming the file that is missing, damaged, or of a run with other settings.
        """
        content = self.config()
        record = self.record()
        if record.config_sha256 not in ("", result_digest(content["result"])):
            remedy = f"delete it to resume from the checkpoint, or {start_over(self)}"
            raise UserError(f"{self.record_file} is of a run with other settings than config.yaml beside it; {remedy}")
        return content, record

    def identify(self, config: Config) -> Record:
        """The record of what lies here, if anything, which is the run of `config`; a new one where nothing does.

        Raises UserError naming what differs, or what is damaged or missing.
        """
        with reading(self.directory):
            if self.config_file.exists() and self.config_file.stat().st_size:
                content, record = self.read()
                if keys := differing(content["result"], config.result()):
                    remedy = "use another folder with runs=PATH, or fresh=true to put it aside and start over"
                    raise UserError(f"{self} holds a run with other settings ({', '.join(keys)}); {remedy}")
                return record
            if self.checkpoint_file.exists() or self.record_file.exists():
                raise UserError(f"{self.config_file} is missing or empty; {start_over(self)}")
        return Record()

    def record(self) -> Record:
        """What run.json holds; a new record where there is none. Raises UserError naming the file if it is damaged."""
        try:
            content = json.loads(self.record_file.read_text(encoding="utf-8"))
            if content.pop("sha256") != digest(json.dumps(content)):
                raise ValueError("its content does not match its digest")
            RECORD(content, "")
            return Record(**content)
        except FileNotFoundError:
            return Record()
        except OSError as error:
            raise UserError(f"{self.record_file}: {error.strerror}") from error
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            remedy = f"delete it to resume from the checkpoint, or {start_over(self)}"
            raise UserError(f"{self.record_file} is damaged or was edited; {remedy}") from error

    def write_record(self, record: Record) -> None:
        """Replace run.json; where config.yaml, as it was written here, is gone since, put it back.

        Rows that it vouches for are on the disk before it is.
        """
        if self._config and not self.config_file.exists():
            write_text(self.config_file, self._config)
        sync(self.history_file)
        content = asdict(replace(record, error=record.error and printable(record.error)[:LONGEST_ERROR]))
        content["sha256"] = digest(json.dumps(content))
        write_text(self.record_file, json.dumps(content, indent=1) + "\n")

    def curve(self, record: Record) -> str:
        """The text of history.csv whose digest run.json has: while a run trains, that of its last checkpoint.

        Raises UserError where it is not there as it was measured.
        """
        try:
            text = self.history_file.read_text(encoding="utf-8", errors="replace")
            if record.state != FINISHED:
                text = "".join(text.splitlines(keepends=True)[: record.rows + 1])
            if digest(text) == record.history_sha256:
                return text
            history.parse(text, str(self.history_file))  # names the line that is damaged
            problem = f"{self.history_file} is not what was measured (run.json has another digest)"
        except OSError as error:
            problem = f"{self.history_file}: {error.strerror}"
        except UserError as error:
            problem = str(error)
        raise UserError(f"{problem}; {REWRITTEN}")

    def rows(self, record: Record) -> list[history.Row]:
        """The rows of `curve`; none where there is no checkpoint yet. Raises UserError as it does."""
        if record.state != FINISHED and not record.history_sha256:
            return []
        text = self.curve(record)
        try:
            return history.parse(text, str(self.history_file))
        except UserError as error:
            raise UserError(f"{error}; {REWRITTEN}") from error

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
            return record.state == FINISHED and bool(self.curve(record))
        except UserError:
            return False

    def is_done(self, config: Config) -> bool:
        """Whether training `config` would change nothing. Raises UserError where another run lies here, or none can be
        looked for."""
        with reading(self.directory):
            if config.fresh or not self.record_file.exists():
                return False
        return self.is_complete(self.identify(config)) and not self.in_use()

    def precision_told(self, config: Config) -> str:
        """What to add to "finished" where the run was trained in another precision than `config` wants; else empty."""
        if config.precision == "auto":
            return ""
        trained = list(dict.fromkeys(str(session.get("precision")) for session in self.record().sessions))
        if trained in ([], [config.precision]):
            return ""
        return f", in {' and '.join(trained)} instead of {config.precision}; fresh=true or runs=PATH trains it again"

    def checkpoint_problem(self) -> str:
        """What is wrong with the last checkpoint of a finished run, and what to do; empty where it is whole or gone."""
        try:
            content, mark, seal = self.checkpoint_file.read_bytes().rpartition(MARK)
        except OSError:
            return ""
        if mark and hashlib.sha256(content).hexdigest().encode() == seal:
            return ""
        remedy = f"delete {self.record_file} and repeat the command to go on from {self.previous_checkpoint_file.name}"
        return f"{self.checkpoint_file} is damaged; {remedy}, or {start_over(self)}"

    @contextmanager
    def claimed(self) -> Generator[None, None, None]:
        """Be the one writer of this directory, until the end of the block or of the process.

        A directory in which nothing but the lock was written goes again, with the folders above it that are new.
        Raises Busy when another process is the writer, UserError when the folder is not writable.
        """
        with writing_to("runs"):
            new = [folder for folder in (self.directory, *self.directory.parents) if not folder.exists()]
            lock = hold(self.lock_file, self)
        with lock:
            for unfinished in self.directory.glob(f"{TEMPORARY}*"):  # of a killed process
                unfinished.unlink(missing_ok=True)
            try:
                yield
            finally:
                with suppress(OSError):
                    if [path.name for path in self.directory.iterdir()] == [self.lock_file.name]:
                        self.lock_file.unlink()
                    for folder in new:
                        folder.rmdir()

    def in_use(self) -> bool:
        """Whether a living process is writing here."""
        return is_held(self.lock_file)

    def put_aside(self) -> None:
        """Move what lies here into RUNS-replaced/, under its own path and the time.

        Killed in the middle, it goes on with the same folder when it is called again: the configuration is moved first,
        so that until then the run can be nothing but started over.
        """
        last = {self.record_file: 1, self.checkpoint_file: 2}
        here = (path for path in self.directory.iterdir() if path != self.lock_file)
        files = sorted(here, key=lambda path: (path != self.config_file, last.get(path, 0), path))
        directory = Path(os.path.abspath(self.directory))  # noqa: PTH100  # a link's target may lie anywhere
        runs = directory.parents[3]
        place = runs.with_name(f"{runs.name}-replaced") if runs.name else runs / f"{UNNAMED}-replaced"
        place /= directory.relative_to(runs)
        begun = next(iter(sorted(place.glob(f"*{UNFINISHED}"))), None)
        if begun and (not files or ((begun / self.config_file.name).exists() and self.config_file.exists())):
            begun = begun.rename(begun.with_suffix(""))  # that one was whole
        if not files:
            return
        if not begun or begun.suffix != UNFINISHED:
            begun = place / f"{datetime.now().strftime('%Y%m%d-%H%M%S-%f')}{UNFINISHED}"
            begun.mkdir(parents=True)
        for path in files:
            if (begun / path.name).is_dir():  # a folder of which a part was copied
                shutil.copytree(path, begun / path.name, dirs_exist_ok=True)
                shutil.rmtree(path)
            else:
                shutil.move(path, begun / path.name)
        kept = begun.rename(begun.with_suffix(""))
        log.info("%s: the old run is kept in %s", self, kept)


def result_digest(result: dict[str, Any]) -> str:
    """Of the settings that decide a result, in whatever order they stand."""
    return digest(json.dumps(result, sort_keys=True))


def plain_yaml(text: str) -> Any:
    """A text of YAML without aliases, which could make a short text mean one without end. Raises ValueError."""
    if "&" in text and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=Loader)):
        raise ValueError("it has aliases")
    return yaml.load(text, Loader=Loader)


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

    Links are followed, each folder is entered once. A run that has lost config.yaml or run.json is still a run, and so
    is a folder that cannot be looked into: whoever reads it gets a line that names it, and it is not left out.
    """
    found = [place for place, names in folders(folder) if names is None or names & {"config.yaml", "run.json"}]
    return [Run(directory) for directory in sorted(found, key=lambda path: natural(str(path)))]

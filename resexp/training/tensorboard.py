"""TensorBoard's view of a run: written again from its rows at every start, so that no point is ever there twice."""

import os
import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import hparams

from resexp.config.settings import flatten
from resexp.storage.history import Row
from resexp.system.files import naming

NAME = "events.out.tfevents."
TAGS = {
    "learning_rate": "learning_rate",
    "loss/train": "train_loss",
    "error/train": "train_error",
    "loss/test": "test_loss",
    "error/test": "test_error",
    "loss/clean_train": "clean_train_loss",
    "error/clean_train": "clean_train_error",
}
"""TensorBoard's tag -> column of history.csv; `images_per_second` comes from timing.csv."""


class Mirror:
    """Event file of one run directory, written in this thread: SummaryWriter's own meets a full disk with a traceback.

    Raises OSError naming the file.
    """

    def __init__(self, directory: Path, rows: list[Row], speeds: dict[int, float]) -> None:
        # A reader that is watching stands in the last file, and is stuck if that goes away: it is emptied, and deleted
        # the next time. The points that the reader has in memory are dropped by the session's start.
        stamps = [int(time.time())]
        for old in directory.glob(f"{NAME}*"):
            stamp = old.name.removeprefix(NAME).partition(".")[0]
            stamps.append(int(stamp) + 1 if stamp.isdecimal() else 0)
            if old.stat().st_size:
                os.truncate(old, 0)
            else:
                old.unlink()
        # Readers take files in the order of their names: a clock that was set back must not put this one first.
        self.path = directory / f"{NAME}{max(stamps)}"
        self._write(Event(file_version="brain.Event:2"))
        self._write(Event(step=0, session_log=SessionLog(status=SessionLog.START)))
        for row in rows:
            self.add(row, speeds.get(row.iteration))

    def add(self, row: Row, images_per_second: float | None) -> None:
        """Add one row's points."""
        points = {tag: getattr(row, column) for tag, column in TAGS.items()}
        points["images_per_second"] = images_per_second
        values = [Summary.Value(tag=tag, simple_value=point) for tag, point in points.items() if point is not None]
        self._write(Event(step=row.iteration, summary=Summary(value=values)))

    def finish(self, result: dict[str, Any]) -> None:
        """Enter the run into the HParams tab, its figures being the last points of its curves."""
        flat = flatten(result)
        settings = {key: value if isinstance(value, int | float) else str(value) for key, value in flat.items()}
        figures = dict.fromkeys(("error/train", "error/test", "error/clean_train"), 0.0)
        for summary in hparams(settings, figures):
            self._write(Event(summary=summary))

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        with naming(self.path), self.path.open("ab") as file:
            RecordWriter(file).write(event.SerializeToString())

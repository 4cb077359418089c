"""TensorBoard's view of a run: written again from its rows at every start, so that no point is ever there twice."""

import math
import os
import time
from textwrap import indent
from typing import Any

import yaml
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_SCALAR,  # pyright: ignore[reportAttributeAccessIssue]
    Summary,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboard.plugins.scalar.metadata import create_summary_metadata
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import custom_scalars, hparams, text

from resexp.config.settings import Config
from resexp.storage.history import Row
from resexp.system.files import naming, sync

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
"""TensorBoard's tag -> column of history.csv; the speed comes from timing.csv, gradients from the checkpoint."""
SPEED = "images_per_second"
GRADIENTS = ("gradient_norm/first_block", "gradient_norm/last_block")
MEANINGS = {
    "learning_rate": "The rate of the last iteration of a row.",
    "train": "Running: of mini-batches as they are trained on, cropped and flipped, before their step.",
    "test": "On the test images, with the weights after this iteration.",
    "clean_train": "On all training images, without crops and flips, with the weights after this iteration.",
    "first_block": "Of the loss's gradient for the block's weights, in the last mini-batch of a row.",
    "last_block": "Of the loss's gradient for the block's weights, in the last mini-batch of a row.",
    SPEED: "Of training alone, without start-up, evaluations and checkpoints.",
}
"""The last part of a tag -> what is measured. Errors are fractions."""


class Mirror:
    """Event file of one run directory, written in this thread: SummaryWriter's own meets a full disk with a traceback.

    Raises OSError naming the file.
    """

    def __init__(
        self, config: Config, rows: list[Row], speeds: dict[int, float], gradients: dict[int, tuple[float, float]]
    ) -> None:
        self.config, self.speeds, self.gradients, directory = config, speeds, gradients, config.directory
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
        both = {"training and test error": ["Multiline", ["error/train", "error/test"]]}
        ends = {"first and last block": ["Multiline", [*GRADIENTS]]}
        settings = indent(
            yaml.safe_dump(config.content(), sort_keys=False), "    "
        )  # Markdown's way to leave a text alone
        for summary in (custom_scalars({"error": both, "gradient norm": ends}), text("settings", settings)):
            self._write(Event(step=0, summary=summary))
        self.explained: set[str] = set()
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Add one row's points, so far as there are any and they are finite."""
        points = {tag: getattr(row, column) for tag, column in TAGS.items()}
        points |= {SPEED: self.speeds.get(row.iteration)}
        points |= zip(GRADIENTS, self.gradients.get(row.iteration, ()), strict=False)
        there = {tag: point for tag, point in points.items() if point is not None and math.isfinite(point)}
        values = [Summary.Value(tag=tag, simple_value=point) for tag, point in there.items()]
        for value in values:
            if value.tag not in self.explained:  # readers keep what comes with the first point
                self.explained.add(value.tag)
                value.metadata.CopyFrom(create_summary_metadata("", MEANINGS[value.tag.rpartition("/")[2]]))
                value.metadata.data_class = DATA_CLASS_SCALAR  # else TensorBoard's fast loader drops the rest
        self._write(Event(step=row.iteration, summary=Summary(value=values)))

    def finish(self) -> None:
        """Enter the run into the HParams tab, its figures being the last points of its curves."""
        config = self.config
        settings = {
            "network": config.model.name,
            "family": "residual" if config.model.residual else "plain",
            "depth": config.model.depth,
            "seed": config.seed,
            "recipe": f"{config.data.name}/{config.recipe.name}",
            "overrides": config.directory.parent.name.removeprefix(config.model.name).removeprefix("+"),
        }
        figures = dict.fromkeys(("error/train", "error/test", "error/clean_train"), 0.0)
        for summary in hparams(settings, figures)[1:]:  # without the first, TensorBoard finds by itself what differs
            self._write(Event(summary=summary))
        sync(self.path)  # a finished run is not written again

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        with naming(self.path), self.path.open("ab") as file:
            RecordWriter(file).write(event.SerializeToString())

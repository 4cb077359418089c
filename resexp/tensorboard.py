"""TensorBoard's view of a run: made anew from its rows at every start, so that no point is ever there twice."""

import os
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from resexp.config import flatten
from resexp.history import Row

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
    """Event file of one run directory."""

    def __init__(self, directory: Path, rows: list[Row], speeds: dict[int, float]) -> None:
        # A reader that is watching stands in the last file, and is stuck if that goes away: it is emptied, and deleted
        # the next time. The points that the reader has in memory are dropped by purge_step.
        for old in directory.glob("events.out.tfevents*"):
            if old.stat().st_size:
                os.truncate(old, 0)
            else:
                old.unlink()
        self.writer = SummaryWriter(str(directory), purge_step=0)
        for row in rows:
            self.add(row, speeds.get(row.iteration))

    def add(self, row: Row, images_per_second: float | None) -> None:
        """Add one row's points."""
        for tag, column in TAGS.items():
            value = getattr(row, column)
            if value is not None:
                self.writer.add_scalar(tag, value, row.iteration)
        if images_per_second is not None:
            self.writer.add_scalar("images_per_second", images_per_second, row.iteration)
        if row.test_error is not None:
            self.writer.flush()

    def finish(self, result: dict[str, Any]) -> None:
        """Enter the run into the HParams tab, its figures being the last points of its curves."""
        flat = flatten(result)
        settings = {key: value if isinstance(value, int | float) else str(value) for key, value in flat.items()}
        figures = dict.fromkeys(("error/train", "error/test", "error/clean_train"), 0.0)
        events = self.writer._get_file_writer()  # add_hparams would make a run and points of its own
        for summary in hparams(settings, figures):
            events.add_summary(summary)

    def close(self) -> None:
        """Write what is pending."""
        self.writer.close()

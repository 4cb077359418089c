"""The rows of a training curve: what history.csv holds. Errors are fractions, durations iterations."""

import math
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

from resexp.errors import UserError


class Row(NamedTuple):
    """What was measured over the iterations since the previous row; None where it was not."""

    iteration: int
    epoch: float
    learning_rate: float
    train_loss: float
    train_error: float
    test_loss: float | None = None
    test_error: float | None = None
    clean_train_loss: float | None = None
    clean_train_error: float | None = None


COLUMNS = Row._fields
NEEDED = len(COLUMNS) - len(Row._field_defaults)


def write(rows: Iterable[Row]) -> str:
    """Rows as the text of history.csv, with its heading."""
    lines = [COLUMNS, *([*map(_cell, row)] for row in rows)]
    return "".join(",".join(line) + "\n" for line in lines)


def _cell(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.8g}"


def as_written(row: Row) -> Row:
    """A row with the digits that history.csv keeps, so that resuming from them changes nothing."""
    return Row._make(float(_cell(value)) if isinstance(value, float) else value for value in row)


def parse(text: str, source: str) -> list[Row]:
    """The rows of a text. Raises UserError naming `source` and the first line that is damaged."""
    heading, *lines = text.removesuffix("\n").split("\n")
    if heading != ",".join(COLUMNS):
        raise UserError(f"{source}: line 1 is not the heading of a history.csv")
    try:
        return _rows(lines)
    except ValueError:
        for at in range(len(lines)):
            try:
                _rows(lines[max(at - 1, 0) : at + 1])  # with the line before, which its iteration must follow
            except ValueError as problem:
                raise UserError(f"{source}: line {at + 2} is damaged ({problem})") from None
        raise


def _rows(lines: list[str]) -> list[Row]:
    """Column by column: the curves of a thousand runs are read in a second. Raises ValueError."""
    cells = [line.split(",") for line in lines]
    if wrong := [len(one) for one in cells if len(one) != len(COLUMNS)]:
        raise ValueError(f"{wrong[0]} columns instead of {len(COLUMNS)}")
    iteration, *others = zip(*cells, strict=True) if cells else [()] * len(COLUMNS)
    iterations = [*map(int, iteration)]
    needed = [[*map(float, column)] for column in others[: NEEDED - 1]]
    optional = [[float(cell) if cell else None for cell in column] for column in others[NEEDED - 1 :]]
    rows = [*map(Row._make, zip(iterations, *needed, *optional, strict=True))]
    train_errors, test_errors, clean_errors = needed[-1], optional[1], optional[3]
    if not all(error is None or 0 <= error <= 1 for error in (*train_errors, *test_errors, *clean_errors)):
        raise ValueError("an error outside 0 to 1")
    if not all(map(math.isfinite, needed[0])):
        raise ValueError("an impossible epoch")
    for before, after in pairwise((0, *iterations)):
        if after <= before:
            raise ValueError(f"iteration {after} after {before}")
    return rows


def running_error(rows: list[Row], iterations: int) -> float:
    """The final running error: the mean over the last sixteenth, iterations 60,001 to 64,000 in the paper's recipe."""
    return mean_error(rows, iterations - iterations / 16, iterations)


def mean_error(rows: list[Row], start: float, end: float) -> float:
    """The mean training error over the iterations after `start` up to `end`; not a number where no row covers any."""
    first = bisect_right(rows, start, key=attrgetter("iteration"))
    before = rows[first - 1].iteration if first else 0
    whole = errors = 0.0
    for row in rows[first:]:
        if before >= end:
            break
        share = min(row.iteration, end) - max(before, start)
        whole, errors, before = whole + share, errors + share * row.train_error, row.iteration
    return errors / whole if whole else math.nan

"""The rows of a training curve: what history.csv holds. Errors are fractions, durations iterations."""

import csv
import hashlib
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

from resexp.errors import UserError


@dataclass(frozen=True)
class Row:
    """What was measured over the iterations since the row before; None where it was not."""

    iteration: int
    epoch: float
    learning_rate: float
    train_loss: float
    train_error: float
    test_loss: float | None = None
    test_error: float | None = None
    clean_train_loss: float | None = None
    clean_train_error: float | None = None


COLUMNS = tuple(field.name for field in fields(Row))


def write(rows: Iterable[Row]) -> str:
    """Rows as the text of history.csv, with its heading."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(getattr(row, column)) for column in COLUMNS])
    return out.getvalue()


def _cell(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.8g}"


def _parse_row(cells: list[str]) -> Row:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} columns instead of {len(COLUMNS)}")
    iteration, *required, test_loss, test_error, clean_loss, clean_error = cells
    optional = [float(cell) if cell else None for cell in (test_loss, test_error, clean_loss, clean_error)]
    row = Row(int(iteration), *map(float, required), *optional)
    errors = [row.train_error, *(error for error in (row.test_error, row.clean_train_error) if error is not None)]
    if not all(0 <= error <= 1 for error in errors):
        raise ValueError("an error outside 0 to 1")
    if row.iteration < 1 or not math.isfinite(row.epoch):
        raise ValueError("an impossible iteration")
    return row


def parse(text: str, source: str) -> tuple[list[Row], list[str]]:
    """The readable rows, and one line naming `source` and the line for each row that is damaged.

    Raises UserError where the heading itself is not a history's.
    """
    lines = list(csv.reader(io.StringIO(text.replace("\0", "?"))))
    if not lines or tuple(lines[0]) != COLUMNS:
        raise UserError(f"{source}: line 1 is not the heading of a history.csv")
    rows: list[Row] = []
    problems: list[str] = []
    for number, cells in enumerate(lines[1:], start=2):
        try:
            row = _parse_row(cells)
            if rows and row.iteration <= rows[-1].iteration:
                raise ValueError(f"iteration {row.iteration} after {rows[-1].iteration}")
            rows.append(row)
        except ValueError as error:
            problems.append(f"{source}: line {number} is damaged ({error}) and left out")
    return rows, problems


def read(path: Path) -> tuple[list[Row], list[str]]:
    """`parse` of a file."""
    return parse(path.read_text(encoding="utf-8", errors="replace"), str(path))


def digest(text: str) -> str:
    """SHA-256 of a history's text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def final_rows(rows: list[Row], iterations: int) -> list[Row]:
    """The rows of the last sixteenth of a run: iterations 60,001 to 64,000 in the paper's recipe."""
    return [row for row in rows if row.iteration > iterations - iterations / 16]


def running_error(rows: list[Row], iterations: int) -> float:
    """The final running error: mean training error over the last sixteenth of iterations, rows weighted by length."""
    previous = {row.iteration: before.iteration for before, row in pairwise(rows)}
    last = final_rows(rows, iterations)
    lengths = [row.iteration - previous.get(row.iteration, 0) for row in last]
    return sum(row.train_error * length for row, length in zip(last, lengths, strict=True)) / sum(lengths)

"""The rows of a training curve: what history.csv holds. Errors are fractions, durations iterations."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from resexp.errors import UserError


@dataclass(frozen=True)
class Row:
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


COLUMNS = tuple(field.name for field in fields(Row))


def write(rows: Iterable[Row]) -> str:
    """Rows as the text of history.csv, with its heading."""
    lines = [COLUMNS, *([_cell(value) for value in vars(row).values()] for row in rows)]
    return "".join(",".join(line) + "\n" for line in lines)


def _cell(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.8g}"


def as_written(row: Row) -> Row:
    """A row with the digits that history.csv keeps, so that resuming from them changes nothing."""
    floats = {name: float(_cell(value)) for name, value in vars(row).items() if isinstance(value, float)}
    return replace(row, **floats)


def _parse_row(cells: list[str]) -> Row:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} columns instead of {len(COLUMNS)}")
    iteration, *required, test_loss, test_error, clean_loss, clean_error = cells
    optional = [float(cell) if cell else None for cell in (test_loss, test_error, clean_loss, clean_error)]
    row = Row(int(iteration), *map(float, required), *optional)
    errors = (row.train_error, row.test_error, row.clean_train_error)
    if not all(error is None or 0 <= error <= 1 for error in errors):
        raise ValueError("an error outside 0 to 1")
    if row.iteration < 1 or not math.isfinite(row.epoch):
        raise ValueError("an impossible iteration")
    return row


def parse(text: str, source: str) -> list[Row]:
    """The rows of a text. Raises UserError naming `source` and the first line that is damaged."""
    heading, *lines = text.removesuffix("\n").split("\n")
    if heading != ",".join(COLUMNS):
        raise UserError(f"{source}: line 1 is not the heading of a history.csv")
    rows: list[Row] = []
    for number, line in enumerate(lines, start=2):
        try:
            row = _parse_row(line.split(","))
            if rows and row.iteration <= rows[-1].iteration:
                raise ValueError(f"iteration {row.iteration} after {rows[-1].iteration}")
        except ValueError as error:
            raise UserError(f"{source}: line {number} is damaged ({error})") from error
        rows.append(row)
    return rows


def running_error(rows: list[Row], iterations: int) -> float:
    """The final running error: the mean over the last sixteenth, iterations 60,001 to 64,000 in the paper's recipe."""
    return mean_error(rows, iterations - iterations / 16, iterations)


def mean_error(rows: list[Row], start: float, end: float) -> float:
    """The mean training error over the iterations after `start` up to `end`; not a number where no row covers any."""
    ends = [0, *(row.iteration for row in rows)]
    shares = [max(min(row.iteration, end) - max(before, start), 0) for before, row in zip(ends, rows, strict=False)]
    if not any(shares):
        return math.nan
    return sum(share * row.train_error for share, row in zip(shares, rows, strict=True)) / sum(shares)

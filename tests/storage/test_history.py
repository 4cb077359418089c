"""The rows of history.csv: written, read back, damaged, and summed up in the final running error."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resexp.errors import UserError
from resexp.storage.history import COLUMNS, Row, parse, running_error, write

FRACTIONS = st.floats(0, 1)
LOSSES = st.floats(0, allow_nan=False)
ROWS = st.lists(
    st.builds(
        Row,
        iteration=st.integers(1, 10**6),
        epoch=st.floats(0, 1e6),
        learning_rate=st.floats(1e-9, 10),
        train_loss=LOSSES,
        train_error=FRACTIONS,
        test_loss=st.none() | LOSSES,
        test_error=st.none() | FRACTIONS,
        clean_train_loss=st.none() | LOSSES,
        clean_train_error=st.none() | FRACTIONS,
    ),
    unique_by=lambda row: row.iteration,
    max_size=8,
).map(lambda rows: sorted(rows, key=lambda row: row.iteration))


def curve(*errors: float) -> list[Row]:
    """Rows of 100 iterations each."""
    return [Row(100 * (at + 1), 0.25 * (at + 1), 0.1, 2.0, error) for at, error in enumerate(errors)]


@given(ROWS)
def test_what_is_written_is_read_back_to_eight_digits(rows: list[Row]) -> None:
    text = write(rows)
    expected = [[value if value is None else float(f"{value:.8g}") for value in row] for row in rows]
    assert [list(row) for row in parse(text, "history.csv")] == expected
    assert write(parse(text, "history.csv")) == text


def test_the_file_is_plain_csv_with_empty_cells_for_what_was_not_measured() -> None:
    lines = write([Row(100, 0.256, 0.1, 2.25, 0.8), Row(200, 0.512, 0.1, 2, 0.75, 1.5, 0.5, 1.25, 0.25)]).splitlines()
    assert lines == [
        "iteration,epoch,learning_rate,train_loss,train_error,test_loss,test_error,clean_train_loss,clean_train_error",
        "100,0.256,0.1,2.25,0.8,,,,",
        "200,0.512,0.1,2,0.75,1.5,0.5,1.25,0.25",
    ]


DAMAGED = {
    "cut short": "200,0.5,0.1",
    "a column too many": "200,0.5,0.1,2,0.8,,,,,",
    "empty": "",
    "not a number": "200,0.5,0.1,2,x.8,,,,",
    "a required cell empty": "200,0.5,0.1,2,,,,,",
    "a fraction of an iteration": "200.5,0.5,0.1,2,0.8,,,,",
    "an error above 1": "200,0.5,0.1,2,1.5,,,,",
    "a test error below 0": "200,0.5,0.1,2,0.8,2,-0.5,,",
    "a clean error above 1": "200,0.5,0.1,2,0.8,2,0.5,2,7",
    "an error that is not a number": "200,0.5,0.1,2,nan,,,,",
    "iteration 0": "0,0.5,0.1,2,0.8,,,,",
    "a negative iteration": "-100,0.5,0.1,2,0.8,,,,",
    "an iteration again": "100,0.5,0.1,2,0.8,,,,",
    "an infinite epoch": "200,inf,0.1,2,0.8,,,,",
    "zero bytes": "\0" * 20,
    "a cell without end": "200" * 100_000,
    "an opening quote": '"200,0.5,0.1,2,0.8,,,,',
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_row_is_named(damage: str) -> None:
    lines = write(curve(0.9, 0.8, 0.7, 0.6)).splitlines()
    lines[2] = DAMAGED[damage]
    with pytest.raises(UserError, match=r"^some/history\.csv: line 3 is damaged \("):
        parse("\n".join(lines) + "\n", "some/history.csv")


@pytest.mark.parametrize("iteration", [0, -100])
def test_the_first_row_comes_after_iteration_0(iteration: int) -> None:
    with pytest.raises(UserError, match=r"history\.csv: line 2 is damaged"):
        parse(write([Row(iteration, 0.5, 0.1, 2.0, 0.8)]), "history.csv")


@pytest.mark.parametrize("text", ["", "\n", "100,0.25,0.1,2,0.9,,,,\n", "iteration,loss\n1,2\n", "\0\0\0"])
def test_a_file_without_the_heading_is_not_a_history(text: str) -> None:
    with pytest.raises(UserError, match="some/history: line 1 is not the heading"):
        parse(text, "some/history")
    assert parse(",".join(COLUMNS) + "\n", "a history without rows") == []


def test_the_final_running_error_is_the_mean_of_iterations_60001_to_64000() -> None:
    rows = curve(*[0.9] * 600, *[0.1] * 39, 0.5)
    assert running_error(rows, 64_000) == pytest.approx((39 * 0.1 + 0.5) / 40)


def test_rows_count_by_the_iterations_that_they_cover() -> None:
    rows = [Row(at, at / 10, 0.1, 2.0, error) for at, error in ((1500, 0.9), (1530, 0.4), (1590, 0.2), (1600, 0.8))]
    assert running_error(rows, 1600) == pytest.approx((30 * 0.4 + 60 * 0.2 + 10 * 0.8) / 100)


@pytest.mark.parametrize("iterations", [1, 2, 15, 16, 17])
def test_a_run_shorter_than_a_row_has_the_error_of_its_only_row(iterations: int) -> None:
    assert running_error([Row(iterations, 1.0, 0.1, 2.0, 0.625)], iterations) == 0.625


@given(st.lists(FRACTIONS, min_size=1, max_size=80))
def test_the_final_running_error_lies_between_those_of_the_last_sixteenth(errors: list[float]) -> None:
    last = errors[-math.ceil(len(errors) / 16) :]
    assert min(last) - 1e-9 <= running_error(curve(*errors), 100 * len(errors)) <= max(last) + 1e-9

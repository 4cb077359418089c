"""What is printed fits a terminal of 100 columns, and nothing is lost by it."""

import re

from hypothesis import given
from hypothesis import strategies as st

from resexp.formatting import WIDTH, natural, tabulated, told_apart, wrapped

WORDS = st.text("abcdefgh-%,.", min_size=1, max_size=12)
CELLS = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]], set[int]]:
    """A heading, rows below it, and the columns of text."""
    columns = draw(st.integers(1, 12))
    lines = draw(st.lists(st.lists(CELLS, min_size=columns, max_size=columns), min_size=2, max_size=5))
    return lines[0], lines[1:], draw(st.sets(st.integers(0, columns - 1)))


@given(tables())
def test_a_table_fits_or_has_nothing_more_to_put_below(table: tuple[list[str], list[list[str]], set[int]]) -> None:
    heading, rows, text = table
    parts = [part.splitlines() for part in tabulated(heading, rows, text).split("\n\n")]
    keys = len([at for at in range(len(heading)) if {*range(at + 1)} <= text]) or 1
    for part in parts:
        assert max(map(len, part)) <= WIDTH or len(part[-1].split("  ")) <= keys + 1
    shown = [" ".join(re.sub(r" +", " ", part[at - len(rows)]) for part in parts) for at in range(len(rows))]
    assert all(cell in line for line, row in zip(shown, rows, strict=True) for cell in row)
    words = " ".join(line for part in parts for line in part).split()
    assert all(word in words for name in heading for word in name.split())


def test_a_heading_takes_no_more_lines_than_it_must() -> None:
    rows = [["plain-20", "1.0"], ["ResNet-20", "2.0"]]
    assert tabulated(["network", "test error, %"], rows, {0}).splitlines()[0] == "network    test error, %"
    wide = tabulated(["network", *["a rather long heading of six"] * 5], [[one[0], *one[1:] * 5] for one in rows], {0})
    assert [len(line.split()) for line in wide.splitlines()] == [15, 16, 6, 6]


@given(st.lists(st.text("ab/+", min_size=1, max_size=30), max_size=8), st.integers(1, 20))
def test_names_that_differ_still_do_when_they_are_shortened(names: list[str], width: int) -> None:
    short = told_apart(names, width)
    assert len(set(short)) == len(set(names))
    assert short == names or max(map(len, short)) <= width


def test_seeds_of_runs_with_long_names_are_told_apart() -> None:
    names = [f"shapes/quick+batch_size{size}+iterations40/resnet20+depth8/seed0" for size in (10, 12)]
    short = told_apart(names, 30)
    assert [len(name) for name in short] == [30, 30]
    assert ["10" in short[0], "12" in short[1]] == [True, True]


@given(st.lists(WORDS, max_size=60).map(" ".join))
def test_a_text_keeps_its_words(text: str) -> None:
    lines = wrapped(text).splitlines()
    assert " ".join(lines).split() == text.split()
    assert max(map(len, lines), default=0) <= WIDTH


def test_numbers_within_names_are_in_their_order() -> None:
    names = ["quick", "quick+lr0.001", "quick+lr0.01", "quick+lr0.1", "quick+lr2/seed2", "quick+lr2/seed10"]
    assert sorted(reversed(names), key=natural) == names

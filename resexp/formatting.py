"""Numbers, lists and columns for people, and tables as CSV."""

import csv
import io
import math
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

CONTROL = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters, halves of characters, and ends of lines and paragraphs."""
TURNING = set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

MANY = 10
"""Seeds or runs that are listed one by one; of more there is a summary."""

WIDTH = 100
"""Columns of a terminal that lines and tables may take."""

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

ABSENT = "-"
"""In a table, where nothing was measured."""


def duration(seconds: float) -> str:
    """75.2 -> "1m15s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def wrapped(text: str) -> str:
    """A text for a terminal, its lines no longer than `WIDTH` where a space allows it, indented like their first."""
    wrapper = textwrap.TextWrapper(WIDTH, break_long_words=False, break_on_hyphens=False)
    filled: list[str] = []
    for line in text.split("\n"):
        wrapper.subsequent_indent = " " * (len(line) - len(line.lstrip()))
        filled.append(wrapper.fill(line))
    return "\n".join(filled)


def aligned(lines: list[list[str]], text: set[int]) -> str:
    """Cells as columns for a terminal; columns in `text` are aligned left, numbers right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shapes = [f"{'<' if number in text else '>'}{width}" for number, width in enumerate(widths)]
    return "\n".join(
        "  ".join(f"{cell:{shape}}" for cell, shape in zip(line, shapes, strict=True)).rstrip() for line in lines
    )


def tabulated(heading: list[str], rows: list[list[str]], text: set[int]) -> str:
    """A table for a terminal. Headings of one wider than `WIDTH` take several lines; columns that do not fit then
    stand below, beside the first ones again.
    """
    bodies = [max(map(len, column), default=0) for column in zip(*rows, strict=True)] or [0] * len(heading)
    heads, widths = [[name] for name in heading], bodies
    for deep in range(1, max(len(name.split()) for name in heading) + 1):
        heads = [_in_lines(name, deep, body) for name, body in zip(heading, bodies, strict=True)]
        widths = [max(body, *map(len, head)) + 2 for body, head in zip(bodies, heads, strict=True)]
        if sum(widths) <= WIDTH + 2:
            break
    keys = [at for at in range(len(heading)) if {*range(at + 1)} <= text]
    if sum(widths[at] for at in keys) > WIDTH / 2:
        keys = [0]
    parts = [[*keys]]
    for at in range(len(heading)):
        if at not in keys:
            if len(parts[-1]) > len(keys) and sum(widths[one] for one in [*parts[-1], at]) > WIDTH + 2:
                parts.append([*keys])
            parts[-1].append(at)
    tables: list[str] = []
    for part in parts:
        deep = max(len(heads[at]) for at in part)
        above = zip(*([""] * (deep - len(heads[at])) + heads[at] for at in part), strict=True)
        below = [[row[at] for at in part] for row in rows]
        tables.append(aligned([*map(list, above), *below], {new for new, at in enumerate(part) if at in text}))
    return "\n\n".join(tables)


def csv_text(heading: tuple[str, ...], rows: list[list[Any]]) -> str:
    """A table as CSV, floats with eight significant digits."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heading)
    for row in rows:
        writer.writerow([f"{value:.8g}" if isinstance(value, float) else value for value in row])
    return out.getvalue()


def _in_lines(name: str, lines: int, width: int) -> list[str]:
    """A heading in so many lines at most, as narrow as they allow but no narrower than what is below it."""
    least = max(width, *map(len, name.split()), 1)
    choices = (textwrap.wrap(name, wide, break_on_hyphens=False) or [""] for wide in range(least, len(name) + 1))
    return next((choice for choice in choices if len(choice) <= lines), [name])


def shortened(name: str, width: int, end: int | None = None) -> str:
    """A name of at most `width` characters: what is too much is left out, before the last `end`, half of it if none."""
    if len(name) <= width:
        return name
    end = (width - 1) // 2 if end is None else end
    return f"{name[: width - 1 - end]}…{name[len(name) - end :]}"


def told_apart(names: list[str], width: int) -> list[str]:
    """Names of at most `width` characters, different names still different; whole where that cannot be."""
    middle = (width - 1) // 2
    for end in sorted(range(width), key=lambda end: abs(end - middle)):
        short = [shortened(name, width, end) for name in names]
        if len(set(short)) == len(set(names)):
            return short
    return names


def plural(n: int, what: str) -> str:
    """1 seed, 2 seeds."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def listed(names: Sequence[str], word: str = "and") -> str:
    """a, b and c."""
    return f" {word} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def few(names: Sequence[str], most: int = MANY) -> list[str]:
    """The first names, and how many more there are: seed 0, seed 1, 3 more."""
    return [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]


def spans(numbers: Sequence[int]) -> list[str]:
    """Rising numbers as texts: 0, 1, 2; of many those that follow each other together: 0 to 41, 43."""
    ends: list[list[int]] = []
    for number in numbers:
        if ends and len(numbers) > MANY and number == ends[-1][1] + 1:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    return [str(low) if low == high else f"{low} to {high}" for low, high in ends]


def natural(text: str) -> list[tuple[float, str]]:
    """Sorts seed2 before seed10, and lr0.01 before lr0.1."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)  # every second one is a number
    return [(float(part), "") if at % 2 else (-1.0, part) for at, part in enumerate(parts)]


def printable(text: str) -> str:
    """A text whose control characters, which a terminal would obey, stand there as they are written in source code.

    So do those that turn the direction of writing, and bytes that are no UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(
        one.encode("unicode_escape").decode() if unicodedata.category(one) in CONTROL or one in TURNING else one
        for one in text
    )


def power_of_ten(power: int) -> str:
    """10⁷."""
    return f"10{str(power).translate(SUPERSCRIPTS)}"


def number(value: float, digits: int = 2) -> str:
    """Two significant digits, below 10 also more: 0.12, 4.3, 16, 7,500, 8.4·10⁶."""
    if not math.isfinite(value):
        return "not finite"
    if value == 0 or 1e-3 <= abs(value) < 99_500:
        rounded = float(f"{value:.2g}")
        return f"{rounded:,.0f}" if abs(rounded) >= 10 else f"{value:.{digits}g}"
    mantissa, _, power = f"{value:.1e}".partition("e")
    return ("" if mantissa == "1.0" else f"{mantissa.removesuffix('.0')}·") + power_of_ten(int(power))

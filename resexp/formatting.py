"""Numbers, lists and columns for people."""

import math
import re
import unicodedata
from collections.abc import Sequence

CONTROL = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters, halves of characters, and ends of lines and paragraphs."""
TURNING = set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

MANY = 10
"""Seeds or runs that are listed one by one; of more there is a summary."""

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

ABSENT = "-"
"""In a table, where nothing was measured."""


def duration(seconds: float) -> str:
    """75.2 -> "1m15s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def aligned(lines: list[list[str]], text: set[int]) -> str:
    """Cells as columns for a terminal; columns in `text` are aligned left, numbers right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shapes = [f"{'<' if number in text else '>'}{width}" for number, width in enumerate(widths)]
    return "\n".join(
        "  ".join(f"{cell:{shape}}" for cell, shape in zip(line, shapes, strict=True)).rstrip() for line in lines
    )


def shortened(name: str, width: int) -> str:
    """A name of at most `width` characters, what is too much left out of its middle."""
    if len(name) <= width:
        return name
    end = (width - 1) // 2
    return f"{name[: width - 1 - end]}…{name[-end:]}"


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


def natural(text: str) -> list[tuple[int, str]]:
    """Sorts seed2 before seed10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


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

"""What a file may hold, said once and checked when it is read: types, bounds, texts that are safe to show."""

import math
from collections.abc import Callable, Collection
from typing import Any

from resexp.formatting import printable

Kind = Callable[[Any, str], None]
"""Raises ValueError, naming the place in the file, for a value that is not of this kind."""


def _require(holds: bool, place: str, rule: str) -> None:
    if not holds:
        raise ValueError(f"{place or 'its content'} is not {rule}")


def whole(low: int = 0, high: int = 2**63) -> Kind:
    """A whole number within bounds."""
    return lambda value, place: _require(type(value) is int and low <= value <= high, place, "a possible number")


def number(low: float = -math.inf, high: float = math.inf) -> Kind:
    """A number within bounds; infinite only where a bound is, and never not-a-number."""
    return lambda value, place: _require(
        type(value) in (int, float) and low <= value <= high, place, "a possible number"
    )


def text(most: int = 1000) -> Kind:
    """A text without control characters, which could move a terminal's cursor or hide what is shown."""
    return lambda value, place: _require(
        isinstance(value, str) and len(value) <= most and printable(value) == value, place, "a plain text"
    )


def label(value: Any, place: str) -> None:
    """A text that may stand in a table of Markdown as it is."""
    text()(value, place)
    _require(not set("<>|`") & set(value), place, "a plain name")


def one_of(*choices: Any) -> Kind:
    """One of a few values."""
    return lambda value, place: _require(any(value is one or value == one for one in choices), place, "a known word")


def truth(value: Any, place: str) -> None:
    """True or false."""
    _require(isinstance(value, bool), place, "true or false")


def optional(kind: Kind) -> Kind:
    """Nothing, or a value of this kind."""
    return lambda value, place: None if value is None else kind(value, place)


def empty_or(kind: Kind) -> Kind:
    """An empty mapping, or a value of this kind."""
    return lambda value, place: None if value == {} else kind(value, place)


def each(kind: Kind) -> Kind:
    """A list of values of one kind."""

    def check(value: Any, place: str) -> None:
        _require(isinstance(value, list), place, "a list")
        for number, one in enumerate(value):
            kind(one, f"{place}[{number}]")

    return check


def names(kind: Kind) -> Kind:
    """A mapping from texts to values of one kind."""

    def check(value: Any, place: str) -> None:
        _require(isinstance(value, dict), place, "a mapping")
        for key, one in value.items():
            text()(key, f"a name in {place or 'it'}")
            kind(one, f"{place}.{key}".lstrip("."))

    return check


def anything(value: Any, place: str) -> None:
    """Plain values of any depth whose texts are safe to show."""
    if isinstance(value, dict):
        names(anything)(value, place)
    elif isinstance(value, list):
        each(anything)(value, place)
    elif isinstance(value, str):
        text(10_000)(value, place)
    else:
        _require(value is None or isinstance(value, bool | int | float), place, "a plain value")


def fields(known: dict[str, Kind], needed: Collection[str] | None = None, more: Kind = anything) -> Kind:
    """A mapping that has the `needed` names (None: all that are known); what is known of it is of its kind.

    Further values are of the kind `more`, so that files of other versions can be read.
    """
    whole_set = known.keys() if needed is None else needed

    def check(value: Any, place: str) -> None:
        _require(isinstance(value, dict), place, "a mapping")
        for name in whole_set:
            _require(name in value, f"{place}.{name}".lstrip("."), "there")
        for name, one in value.items():
            text()(name, f"a name in {place or 'it'}")
            known.get(name, more)(one, f"{place}.{name}".lstrip("."))

    return check

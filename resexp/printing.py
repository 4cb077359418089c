"""What commands print: tables and sentences for people, or with json=true one JSON list for programs."""

import json
import logging
import math
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger("resexp")

Show = Callable[..., None]
"""show(text, *records): the text for people, the records for programs."""


@contextmanager
def printing(as_json: bool) -> Generator[Show, None, None]:
    """Print each text at once, or at the end all records, also those shown before an error, and no text."""
    shown: list[Any] = []

    def show(text: str, *records: object) -> None:
        if as_json:
            shown.extend(map(plain, records))
        elif text:
            print(text, flush=True)

    try:
        yield show
    finally:
        if as_json:
            print(json.dumps(shown, indent=1, allow_nan=False))


def warn(problems: Iterable[str]) -> None:
    """Say each on stderr, whatever is printed."""
    for problem in problems:
        log.warning("%s", problem)


def plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses by field, paths as text, numbers that are not finite as null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.as_posix() if isinstance(value, Path) else value

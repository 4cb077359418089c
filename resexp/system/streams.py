"""The three standard streams, whatever they are: closed, full, of another encoding, or a terminal that obeys."""

import codecs
import io
import os
import re
import sys
from typing import Any, TextIO, cast

from resexp.errors import UserError
from resexp.formatting import printable

PLAIN = {"\u00b1": "+-", "\u2212": "-", "\u2013": "-", "\u2026": "...", "\u00d7": "x"}
"""What stands for a character that an encoding lacks."""


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(PLAIN.get(one) or one.encode("unicode_escape").decode() for one in lost), error.end


class Output:
    """Standard output: control characters are shown and not obeyed, and one that is full gives a line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text. Raises UserError where that cannot be, and BrokenPipeError where nobody reads any more."""
        try:
            self.stream.write(re.sub(r"[^\n\t\r]+", lambda part: printable(part[0]), text))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UserError(f"cannot write the output ({error.strerror})") from error
        return len(text)

    def flush(self) -> None:
        """Write what is not written yet. Raises as `write` does."""
        try:
            self.stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UserError(f"cannot write the output ({error.strerror})") from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def prepare_streams() -> None:
    """Make the three streams fit for any text; what is closed leads nowhere, so that no file takes its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # for the whole process
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    codecs.register_error("resexp", _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="resexp")
    if not isinstance(sys.stdout, Output):
        sys.stdout = cast(TextIO, Output(sys.stdout))


def lead_nowhere(stream: TextIO) -> None:
    """Drop what could not be written, so that the end of the process does not try again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

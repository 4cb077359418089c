"""What stands beside a file of trained weights, as JSON: name, size, digest, whose they are, errors. No torch here."""

import json
from pathlib import Path
from typing import Any

from resexp.errors import UserError
from resexp.system import schema
from resexp.system.files import file_digest, write_text

NOTE = schema.fields(
    {
        "file": schema.text(255),
        "bytes": schema.whole(1),
        **dict.fromkeys(("sha256", "history_sha256"), schema.text(64)),
        "dtype": schema.one_of("fp16", "fp32"),
        "iterations": schema.whole(1),
        "test_error": schema.number(0, 1),
        "run_test_error": schema.optional(schema.number(0, 1)),
        "test_images": schema.whole(1),
        "measured": schema.names(schema.text()),
    }
)


def note_file(weights: Path) -> Path:
    """Where the note of a file of weights stands."""
    return weights.with_suffix(".json")


def write(weights: Path, **more: Any) -> None:
    """A file's name, size and digest, and `more`."""
    known = {"file": weights.name, "bytes": weights.stat().st_size, "sha256": file_digest(weights)}
    write_text(note_file(weights), json.dumps(known | more, indent=1) + "\n")


def read(path: Path) -> dict[str, Any]:
    """What a note says. Raises UserError naming it where it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        NOTE(content, "")
        if content["file"] != path.with_suffix(".pt").name:
            raise ValueError("it is of another file")
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} is damaged ({why}); delete it, and resexp export writes it again") from error
    return content


def holds(weights: Path, **expected: Any) -> bool:
    """Whether a file of weights is there, whole, and its note says what is expected."""
    try:
        known = read(note_file(weights))
        whole = file_digest(weights) == known["sha256"]
    except (UserError, OSError):
        return False
    return whole and all(known[name] == value for name, value in expected.items())

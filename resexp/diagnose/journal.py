"""When, where and with what a diagnosis was measured: a JSON file beside its CSV. No torch here."""

import json
from pathlib import Path
from typing import Any

from resexp.errors import UserError
from resexp.system.files import write_text, writing_to

Entry = dict[str, Any]
"""One session of measuring: networks (how many), images (in words), seconds, started, device, versions, commit."""


def journal_file(table: Path) -> Path:
    """That of a diagnosis whose numbers are in `table`."""
    return table.with_suffix(".json")


def read(table: Path) -> list[Entry]:
    """All sessions so far, none where there is no file. Raises UserError naming it where it is damaged."""
    path = journal_file(table)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(entry, dict) for entry in entries):
            raise ValueError("it is no list of sessions")
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged; delete it, only the table beside it is needed") from error
    return entries


def write(table: Path, entries: list[Entry]) -> None:
    """Replace the file. Raises UserError where it cannot be written."""
    with writing_to("runs"):
        write_text(journal_file(table), json.dumps(entries, indent=1) + "\n")


def merge(entries: list[Entry], more: list[Entry]) -> list[Entry]:
    """Both, each session once, in the order in which they began."""
    found = {json.dumps(entry, sort_keys=True): entry for entry in [*entries, *more]}
    return sorted(found.values(), key=lambda entry: str(entry.get("started")))

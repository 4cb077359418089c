"""All state of a run in one file: an ordinary torch file of plain containers, followed by its own SHA-256."""

import hashlib
import io
import logging
from pathlib import Path
from typing import Any

import torch

from resexp.errors import UserError
from resexp.system.files import replacing

log = logging.getLogger("resexp")

MARK = b"resexp-sha256:"
"""Stands between the torch file and its digest; `torch.load` reads the file as if neither were there."""

State = dict[str, Any]


class Damaged(Exception):
    """A checkpoint that must not be used; the text says why."""


def save(state: State, path: Path, previous: Path | None = None) -> None:
    """Write atomically; the checkpoint before moves to `previous`. Raises OSError."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    with replacing(path, previous) as file:
        file.write(content)
        file.write(MARK + hashlib.sha256(content).hexdigest().encode())


def load(path: Path) -> State:
    """Read one checkpoint onto the CPU. Raises Damaged, and OSError where it cannot be read."""
    content, mark, digest = path.read_bytes().rpartition(MARK)
    if not mark:
        raise Damaged("it has no digest: truncated, or not a checkpoint of this program")
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise Damaged("its content does not match its digest")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds; none of them may run what the file carries
        raise Damaged("it holds more than plain tensors and numbers") from error
    if not isinstance(state, dict):
        raise Damaged("it is not a checkpoint of this program")
    return state


def load_named(path: Path, setting: str) -> State:
    """As `load`, of a file that a setting names. Raises UserError saying why it cannot be used."""
    try:
        return load(path)
    except (Damaged, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{setting}={path}: cannot be used ({why})") from error


def load_newest(paths: list[Path], result: dict[str, Any], remedy: str) -> State | None:
    """The first usable of several checkpoints of the run `result`; None where none of the files exists.

    Raises UserError naming the files when some exist and none is usable.
    """
    problems: list[str] = []
    for path in paths:
        try:
            state = load(path)
            if state.get("result") != result:
                raise Damaged("it belongs to another run")
        except FileNotFoundError:
            problems.append(f"{path} is missing")
        except (Damaged, OSError) as error:
            problems.append(f"{path} cannot be used ({error})")
        else:
            for problem in problems:
                log.warning("%s; going back to %s", problem, path.name)
            return state
    if any(path.exists() for path in paths):
        raise UserError(f"{'; '.join(problems)}; {remedy}")
    return None

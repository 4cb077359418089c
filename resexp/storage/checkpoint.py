"""All state of a run in one file: an ordinary torch file of plain containers, followed by its own SHA-256."""

import hashlib
import io
import logging
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resexp.errors import UserError
from resexp.storage.run import MARK
from resexp.system import schema
from resexp.system.files import replacing

log = logging.getLogger("resexp")

State = dict[str, Any]

DTYPES = (torch.float32, torch.float16, torch.int64)
"""Of the weights and counts of a network."""


class Damaged(Exception):
    """A checkpoint that must not be used; the text says why."""


def tensors(value: Any, place: str) -> None:
    """Named tensors of real numbers, each with memory of its own for all that it claims to hold.

    Raises ValueError. One may claim to be larger than the file that it came in; a copy would fill the memory.
    """
    schema.names(_tensor)(value, place)


def _tensor(value: Any, place: str) -> None:
    plain = type(value) is Tensor and value.dtype in DTYPES and value.layout == torch.strided
    if not plain or value.device.type != "cpu" or value.numel() * value.itemsize > value.untyped_storage().nbytes():
        raise ValueError(f"{place} is not a tensor of a network")


def _unchecked(value: Any, place: str) -> None:
    """What is read only where a run goes on."""


STATE = schema.fields(
    {"result": schema.names(schema.anything), "iteration": schema.whole(), "rows": _unchecked, "network": tensors},
    more=_unchecked,
)


def content_of(state: State) -> bytes:
    """A state as the content of a file, which ends with its own digest."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    return content + MARK + hashlib.sha256(content).hexdigest().encode()


def save(state: State, path: Path, previous: Path | None = None) -> None:
    """Write atomically; the checkpoint before moves to `previous`. Raises OSError."""
    content = content_of(state)
    with replacing(path, previous) as file:
        file.write(content)


def load(path: Path) -> State:
    """Read one checkpoint onto the CPU. Raises Damaged, and OSError where it cannot be read."""
    content, mark, digest = path.read_bytes().rpartition(MARK)
    if not mark:
        raise Damaged("it has no digest: truncated, or not a checkpoint of this program")
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise Damaged("its content does not match its digest")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
                raise Damaged("it is compressed, which no checkpoint of this program is")
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Damaged:
        raise
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


def load_newest(paths: list[Path], result: dict[str, Any], remedy: str, writing: bool = False) -> State | None:
    """The first usable of several checkpoints of the run `result`; None where none of the files exists.

    Who is going to write the next one says so: damaged ones are deleted then, lest one takes the place of the usable.
    Raises UserError naming the files when some exist and none is usable.
    """
    problems: list[str] = []
    damaged: list[Path] = []
    for path in paths:
        try:
            state = load(path)
            STATE(state, "")
            if state["result"] != result:
                raise Damaged("it belongs to another run")
        except FileNotFoundError:
            problems.append(f"{path} is missing")
        except (Damaged, ValueError, OSError) as error:
            problems.append(f"{path} cannot be used ({error})")
            damaged += [] if isinstance(error, OSError) else [path]
        else:
            for problem in problems:
                log.warning("%s; going back to %s", problem, path.name)
            for useless in damaged if writing else ():
                useless.unlink()
            return state
    if any(path.exists() for path in paths):
        raise UserError(f"{'; '.join(problems)}; {remedy}")
    return None

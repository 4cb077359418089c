"""Trained weights as a small file: a network's state, its own settings, and its error once loaded back."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from resexp.config.settings import TrainSettings, recorded
from resexp.data.batches import Images, mean_image
from resexp.data.dataset import Dataset
from resexp.errors import UserError
from resexp.model.network import build
from resexp.storage import checkpoint
from resexp.storage.run import Run, start_over, without_places
from resexp.system.files import write_text
from resexp.training.device import Execution, prepare
from resexp.training.evaluate import evaluate

KIND = "resexp weights 1"
"""Says what the file is and which content it has."""
MOST_BYTES = 10_000_000
"""What all files of a folder may have together: they are meant to be committed."""
DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Trained:
    """A trained network's state and where it comes from."""

    config: TrainSettings
    iteration: int
    digest: str
    """Of the images it was trained on."""
    network: dict[str, torch.Tensor]
    precision: str
    """The arithmetic that it was trained in last."""
    classes: list[str] | None = None
    """Names of the classes, where the file tells them."""

    def prepare(self, device: str, precision: str, threads: int) -> Execution:
        """Where to measure it, for `auto` in its own precision, if the device has that.

        Raises UserError for what this machine does not have.
        """
        here = replace(self.config, device=device, precision=precision, threads=threads)
        if precision == "auto":
            with suppress(UserError):
                return prepare(replace(here, precision=self.precision))
        return prepare(here)

    def check_data(self, data: Dataset, what: str) -> None:
        """Raise UserError unless these are the images that it was trained on."""
        if self.classes is not None and self.classes != data.classes:
            raise UserError(f"data={data.name}: {_classes(data.classes)} there; {what} knows {_classes(self.classes)}")
        if self.digest != data.digest:
            raise UserError(f"data={data.name}: not the images that {what} was trained on")


def _classes(names: list[str]) -> str:
    shown = [*names[:3], "..."] if len(names) > 3 else names
    return f"{len(names)} classes ({', '.join(shown)})"


def of_run(run: Run) -> Trained:
    """The newest checkpoint of a run. Raises UserError where there is none that can be used."""
    found = run.config()
    config = recorded(found["result"], found["execution"])
    state = checkpoint.load_newest(run.checkpoint_files, config.result(), start_over(run))
    if state is None:
        raise UserError(f"run={run}: no checkpoint there yet")
    if not run.record_file.exists():
        raise UserError(f"{run.record_file}: no such file; the command that trained the run writes it anew")
    record = run.record()
    last = record.sessions[-1] if record.sessions else {}
    precision = last.get("precision", config.precision)
    return Trained(config, state["iteration"], str(record.data.get("digest")), state["network"], precision)


def load(path: Path) -> Trained:
    """A file that `save` wrote: digest verified, loaded with weights_only. Raises UserError saying what is wrong."""
    try:
        state = checkpoint.load(path)
    except (checkpoint.Damaged, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"weights={path}: cannot be used ({why})") from error
    if state.get("kind") != KIND:
        raise UserError(f"weights={path}: not a file of resexp export; a run is measured with run=DIRECTORY")
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in state["network"].items()}
    config = recorded(state["config"]["result"], state["config"]["execution"])
    precision = state.get("precision", config.precision)  # older files tell only what was asked for
    return Trained(config, state["iteration"], state["digest"], tensors, precision, state["classes"])


def measure(trained: Trained, data: Dataset, split: str, execution: Execution) -> tuple[float, float, int]:
    """Mean loss, error (a fraction) and images of one split. Raises UserError where it held no images out."""
    images = getattr(data, split)
    if images is None:
        raise UserError("split=validation: this run held no images out; choose test or train")
    model = trained.config.model
    network = build(model, trained.config.seed, len(data.classes), execution.device)
    try:
        network.load_state_dict(trained.network)
    except RuntimeError as error:
        raise UserError(f"the weights do not fit {model.name} ({str(error).splitlines()[0]})") from error
    loss, error = evaluate(network, Images.of(images, mean_image(data.train), 0, execution.device), execution)
    return loss, error, len(images)


def save(trained: Trained, run: Run, classes: list[str], dtype: str, path: Path) -> None:
    """Write a network's state, in fp16 or fp32, with its own settings. Raises UserError where fp16 cannot hold it."""
    kept = {
        name: value.to(DTYPES[dtype]) if value.is_floating_point() else value for name, value in trained.network.items()
    }
    if not all(bool(torch.isfinite(value).all()) for value in kept.values()):
        raise UserError(f"dtype={dtype}: too small for some weight of {run}; use dtype=fp32")
    state = {
        "kind": KIND,
        "config": without_places(run.config()),
        "iteration": trained.iteration,
        "digest": trained.digest,
        "precision": trained.precision,
        "classes": classes,
        "network": kept,
    }
    checkpoint.save(state, path)


def write_note(path: Path, **more: Any) -> None:
    """What a file of weights is, beside it as JSON."""
    content = path.read_bytes()
    known = {"file": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_text(path.with_suffix(".json"), json.dumps(known | more, indent=1) + "\n")


def total_bytes(folder: Path) -> int:
    """Bytes of all weights in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.pt"))

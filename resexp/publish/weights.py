"""Trained weights, from a run's checkpoint or a small file: a network's state, its settings, and its error."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from resexp.config.settings import TrainSettings, recorded, with_data_dir
from resexp.data.batches import Images, mean_image
from resexp.data.dataset import Dataset
from resexp.data.load import load
from resexp.errors import UserError
from resexp.model.network import build
from resexp.storage import checkpoint
from resexp.storage.run import Run, start_over, without_places
from resexp.system.files import write_text
from resexp.training.device import Execution, prepare
from resexp.training.evaluate import evaluate

KIND = "resexp weights 1"
"""What the file is, and the version of its content."""
MOST_BYTES = 10_000_000
"""What all files of a folder may take together: they are meant to be committed."""
DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Trained:
    """A trained network's state and where it comes from."""

    source: str
    """The file or the directory that it was read from."""
    config: TrainSettings
    iteration: int
    digest: str
    """Of the images it was trained on."""
    network: dict[str, torch.Tensor]
    precision: str
    """That of its last session."""
    classes: list[str] | None = None
    """Names of the classes, where they are known."""

    def prepare(self, device: str, precision: str, threads: int) -> Execution:
        """Where to measure it, for `auto` in its own precision, if the device has that.

        Raises UserError for what this machine does not have.
        """
        config = replace(self.config, device=device, precision=precision, threads=threads)
        if precision == "auto":
            with suppress(UserError):
                return prepare(replace(config, precision=self.precision))
        return prepare(config)

    def data(self, dir: str | None) -> Dataset:
        """The images that it was trained on, from `dir` if given. Raises UserError where those found are others."""
        data = load(with_data_dir(self.config, dir).data)
        if self.classes is not None and self.classes != data.classes:
            raise UserError(
                f"data={data.name}: {_named(data.classes)} there; {self.source} knows {_named(self.classes)}"
            )
        if self.digest != data.digest:
            raise UserError(f"data={data.name}: not the images that {self.source} was trained on")
        return data


def _named(classes: list[str]) -> str:
    return f"{len(classes)} classes ({', '.join(classes[:3])}{', ...' if len(classes) > 3 else ''})"


def of_run(run: Run) -> Trained:
    """The newest checkpoint of a run. Raises UserError where there is none that can be used."""
    content = run.config()
    config = recorded(content["result"], content["execution"])
    state = checkpoint.load_newest(run.checkpoint_files, config.result(), start_over(run))
    if state is None:
        raise UserError(f"run={run}: no checkpoint there yet")
    if not run.record_file.exists():
        raise UserError(f"{run.record_file}: no such file; the command that trained the run writes it again")
    record = run.record()
    precision = record.sessions[-1]["precision"] if record.sessions else config.precision
    return Trained(str(run), config, state["iteration"], str(record.data.get("digest")), state["network"], precision)


def load_file(path: Path) -> Trained:
    """A file that `save` wrote: digest verified, loaded with weights_only. Raises UserError saying what is wrong."""
    state = checkpoint.load_named(path, "weights")
    if state.get("kind") != KIND:
        raise UserError(f"weights={path}: not a file of resexp export; a run is measured with run=DIRECTORY")
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in state["network"].items()}
    config = recorded(state["config"]["result"], state["config"]["execution"])
    precision = state.get("precision", config.precision)
    return Trained(str(path), config, state["iteration"], state["digest"], tensors, precision, state["classes"])


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


def file_name(labels: dict[str, str], seed: int) -> str:
    """That of a run's exported weights."""
    return f"{labels['data']}-{labels['recipe']}-{labels['model']}-seed{seed}.pt"


def save(trained: Trained, config: dict[str, Any], classes: list[str], dtype: str, path: Path) -> None:
    """Write a network's state, in fp16 or fp32, with the content of config.yaml that describes it.

    Raises UserError where fp16 cannot hold it.
    """
    tensors = {
        name: value.to(DTYPES[dtype]) if value.is_floating_point() else value for name, value in trained.network.items()
    }
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise UserError(f"dtype={dtype}: too small for some weight of {trained.source}; use dtype=fp32")
    about = {
        "kind": KIND,
        "config": without_places(config),
        "iteration": trained.iteration,
        "digest": trained.digest,
        "precision": trained.precision,
        "classes": classes,
    }
    # Through JSON, so that equal content gives equal bytes: a text that is one object in two places is written once.
    checkpoint.save({**json.loads(json.dumps(about)), "network": tensors}, path)


def write_note(path: Path, **more: Any) -> None:
    """A file's name, size and digest, and `more`, as JSON beside it."""
    content = path.read_bytes()
    known = {"file": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_text(path.with_suffix(".json"), json.dumps(known | more, indent=1) + "\n")


def total_bytes(folder: Path) -> int:
    """Bytes of all weights in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.pt"))

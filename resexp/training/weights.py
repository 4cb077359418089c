"""Trained weights, from a run's checkpoint or a small file: a network's state, its settings, and its error."""

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
from resexp.errors import UserError, first_line
from resexp.model.cost import parameters
from resexp.model.network import Network, build
from resexp.storage import checkpoint
from resexp.storage.run import CONFIG, FINISHED, Run, start_over, without_places
from resexp.system import schema
from resexp.system.files import digest, replacing
from resexp.training.device import Execution, prepare
from resexp.training.evaluate import evaluate

KIND = "resexp weights 1"
"""What the file is, and the version of its content."""
MOST_BYTES = 20_000_000
"""What all files of a folder may take together: they are meant to be committed."""
DTYPES = {"fp16": torch.float16, "fp32": torch.float32}
WEIGHTS = schema.fields(
    {
        "kind": schema.one_of(KIND),
        "config": CONFIG,
        "iteration": schema.whole(),
        "digest": schema.text(64),
        "precision": schema.one_of("fp32", "tf32", "bf16", "fp16"),
        "classes": schema.each(schema.text(255)),
        "network": checkpoint.tensors,
    },
    needed=("kind", "config", "iteration", "digest", "classes", "network"),
)
"""What such a file holds; it may come from anywhere."""


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
        """Where to measure it, for `auto` in its own precision, if the device has that, and bf16 if that is fast there.

        A CPU that has to imitate bf16 takes several times as long as in fp32. Raises UserError for what this machine
        does not have.
        """
        config = replace(self.config, device=device, precision=precision, threads=threads)
        if precision == "auto" and self.precision != "bf16":  # which is what auto takes where it is fast
            with suppress(UserError):
                return prepare(replace(config, precision=self.precision))
            config = replace(config, precision="fp32")
        return prepare(config)

    def build(self, classes: int, device: torch.device) -> Network:
        """The network with these weights. Raises UserError where they do not fit it."""
        model = self.config.model
        count = sum(value.numel() for name, value in self.network.items() if name.endswith(("weight", "bias")))
        if count != parameters(model, classes):  # before a network of whatever size is built
            raise UserError(f"the weights do not fit {model.name} ({count:,} numbers)")
        network = build(model, self.config.seed, classes, device)
        try:
            network.load_state_dict(self.network)
        except RuntimeError as error:
            raise UserError(f"the weights do not fit {model.name} ({first_line(error)})") from error
        return network

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
    content, record = run.read()
    config = recorded(content["result"], content["execution"])
    state = checkpoint.load_newest(run.checkpoint_files, config.result(), start_over(run))
    if state is None:
        raise UserError(f"{run}: no checkpoint there yet")
    if not run.record_file.exists():
        raise UserError(f"{run.record_file}: no such file; the command that trained the run writes it again")
    if record.state == FINISHED and digest(state["rows"]) != record.history_sha256:
        remedy = f"delete {run.record_file} and repeat the command that trained the run, which goes on from there"
        raise UserError(
            f"{run.checkpoint_file}: the weights at the end of the finished run are lost; what is left was saved after "
            f"{state['iteration']} iterations; {remedy}, or {start_over(run)}"
        )
    precision = record.sessions[-1]["precision"] if record.sessions else config.precision
    return Trained(str(run), config, state["iteration"], str(record.data.get("digest")), state["network"], precision)


def load_file(path: Path) -> Trained:
    """A file that `save` wrote: digest verified, loaded with weights_only. Raises UserError saying what is wrong."""
    state = checkpoint.load_named(path, "weights")
    if state.get("kind") != KIND:
        raise UserError(f"weights={path}: not a file of resexp export; a run is measured with runs=DIRECTORY")
    try:
        WEIGHTS(state, "")
        config = recorded(state["config"]["result"], state["config"]["execution"])
        classes, network = state["classes"], state["network"]
        if not all(bool(torch.isfinite(value).all()) for value in network.values()):
            raise ValueError("a weight is not finite")
    except (ValueError, UserError, RecursionError) as error:
        raise UserError(f"weights={path}: cannot be used ({error})") from error
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in network.items()}
    precision = state.get("precision", config.precision)
    return Trained(str(path), config, state["iteration"], state["digest"], tensors, precision, classes)


def load_network(place: str | Path, device: str = "cpu") -> Network:
    """The trained network of a run's directory or of a file of `resexp export`, in evaluation mode.

    It takes images (N, 3, H, W) as `images_seen` gives them. Raises UserError where there is none that can be used.
    """
    path = Path(place)
    trained = of_run(Run(path)) if path.is_dir() else load_file(path)
    return trained.build(len(trained.network.get("head.bias", ())), torch.device(device)).eval()


def measure(trained: Trained, data: Dataset, split: str, execution: Execution) -> tuple[float, float, int]:
    """Mean loss, error (a fraction) and images of one split. Raises UserError where it held no images out."""
    images = getattr(data, split)
    if images is None:
        raise UserError("split=validation: this run held no images out; choose test or train")
    network = trained.build(len(data.classes), execution.device)
    loss, error = evaluate(network, Images.of(images, mean_image(data.train), 0, execution.device), execution)
    return loss, error, len(images)


def file_name(labels: dict[str, str], seed: int) -> str:
    """That of a run's exported weights."""
    return f"{labels['data']}-{labels['recipe']}-{labels['model']}-seed{seed}.pt"


def save(
    trained: Trained, config: dict[str, Any], classes: list[str], dtype: str, path: Path, limited: bool = True
) -> None:
    """Write a network's state, in fp16 or fp32, with the content of config.yaml for it, in place of what is there.

    Raises UserError where fp16 cannot hold it, or a `limited` folder would hold too much.
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
    content = checkpoint.content_of({**json.loads(json.dumps(about)), "network": tensors})
    total = len(content) + sum(other.stat().st_size for other in path.parent.glob("*.pt") if other != path)
    if limited and total > MOST_BYTES:
        remedy = "choose fewer networks or seeds, or dtype=fp16"
        raise UserError(f"out={path.parent}: {total:,} bytes with {path.name}, more than 20 MB together; {remedy}")
    with replacing(path) as file:
        file.write(content)


def total_bytes(folder: Path) -> int:
    """Bytes of all weights in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.pt"))

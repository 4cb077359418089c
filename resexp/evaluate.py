"""Error of a network on a whole set: evaluation mode, the one original view."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import nn
from torch.nn import functional

from resexp import checkpoint
from resexp.compose import settings_of
from resexp.config import check_device, recorded, require
from resexp.data import load
from resexp.data.batches import Images, mean_image
from resexp.device import Execution, prepare
from resexp.errors import UserError
from resexp.models import build
from resexp.run import Run, start_over

BATCH_SIZE = {"cpu": 500, "cuda": 2500}
"""Images at a time; it changes speed and memory, not what is counted."""


@dataclass
class EvaluateSettings:
    """Root of `resexp evaluate`."""

    run: str
    split: str
    device: str
    precision: str
    dir: str | None

    def __post_init__(self) -> None:
        check_device(self.device, self.precision)
        splits = ("test", "train", "validation")
        require(self.split in splits, "split", self.split, "choose test, train or validation")


@torch.no_grad()
def evaluate(network: nn.Module, images: Images, execution: Execution) -> tuple[float, float]:
    """Mean loss and error (a fraction). The network is put back into training mode if it was in it."""
    training = network.training
    network.eval()
    size = BATCH_SIZE.get(execution.device.type, 500)
    loss = torch.zeros((), device=execution.device)
    wrong = torch.zeros((), dtype=torch.int64, device=execution.device)
    for first in range(0, len(images), size):
        batch, labels = images.plain(first, size)
        # Compiling is for training: an evaluation is not worth variants of its own.
        with execution.autocast(), torch.compiler.set_stance("force_eager"):
            scores = network(batch).float()
        loss += functional.cross_entropy(scores, labels, reduction="sum")
        wrong += (scores.argmax(1) != labels).sum()
    network.train(training)
    return float(loss) / len(images), int(wrong) / len(images)


def task(cfg: DictConfig) -> None:
    """`resexp evaluate`: print the error of a run's last checkpoint on one split.

    Raises UserError where the run, its checkpoint or its images cannot be used.
    """
    settings = settings_of(cfg, EvaluateSettings)
    run = Run(Path(settings.run))
    found = run.config()
    config = recorded(found["result"], found["execution"])
    if settings.dir is not None and not hasattr(config.data, "dir"):
        raise UserError(f"dir={settings.dir}: data={config.data.name} has no folder; leave it out")
    if settings.dir is not None:
        config.data = replace(config.data, dir=settings.dir)
    config.device, config.precision, config.threads = settings.device, settings.precision, 0
    state = checkpoint.load_newest(run.checkpoint_files, config.result(), start_over(run))
    if state is None:
        raise UserError(f"run={run}: no checkpoint there yet")
    execution = prepare(config)
    data = load(config.data)
    if data.digest != run.record().data.get("digest"):
        raise UserError(f"data={data.name}: not the images that {run} was trained on")
    split = getattr(data, settings.split)
    if split is None:
        raise UserError("split=validation: this run held no images out; choose test or train")
    network = build(config.model, config.seed, len(data.classes), execution.device)
    network.load_state_dict(state["network"])
    loss, error = evaluate(network, Images.of(split, mean_image(data.train), 0, execution.device), execution)
    print(
        f"{config.model.name} after {state['iteration']} of {config.recipe.iterations} iterations: "
        f"{settings.split} error {100 * error:.2f} % ({round(error * len(split))} of {len(split)}), loss {loss:.4f}, "
        f"{execution.precision} on {execution.device}"
    )

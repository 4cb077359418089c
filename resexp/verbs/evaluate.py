"""`resexp evaluate`: the error of a trained run, measured anew from its checkpoint."""

from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import DictConfig

from resexp import checkpoint
from resexp.compose import settings_of
from resexp.config import check_device, recorded, require
from resexp.data import load
from resexp.data.batches import Images, mean_image
from resexp.device import prepare
from resexp.errors import UserError
from resexp.evaluate import evaluate
from resexp.models import build
from resexp.run import Run, start_over


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
    if not run.record_file.exists():
        raise UserError(f"{run.record_file}: no such file; the command that trained the run writes it anew")
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

"""`resexp evaluate`: the error of a trained run, measured anew from its checkpoint or from exported weights."""

from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import DictConfig

from resexp import weights
from resexp.compose import settings_of
from resexp.config import check_device, require
from resexp.data import load
from resexp.device import prepare
from resexp.errors import UserError
from resexp.run import Run


@dataclass
class EvaluateSettings:
    """Root of `resexp evaluate`."""

    run: str | None
    weights: str | None
    split: str
    device: str
    precision: str
    dir: str | None

    def __post_init__(self) -> None:
        check_device(self.device, self.precision)
        splits = ("test", "train", "validation")
        require(self.split in splits, "split", self.split, "choose test, train or validation")
        if (self.run is None) == (self.weights is None):
            given = "not given" if self.run is None else "given beside weights"
            raise UserError(f"run: {given}; name either run=DIRECTORY or weights=FILE")


def task(cfg: DictConfig) -> None:
    """`resexp evaluate`: print the error of a run's last checkpoint, or of exported weights, on one split.

    Raises UserError where the run, its checkpoint, the weights or the images cannot be used.
    """
    settings = settings_of(cfg, EvaluateSettings)
    trained = (
        weights.load(Path(settings.weights)) if settings.weights else weights.of_run(Run(Path(settings.run or "")))
    )
    config = trained.config
    if settings.dir is not None and not hasattr(config.data, "dir"):
        raise UserError(f"dir={settings.dir}: data={config.data.name} has no folder; leave it out")
    if settings.dir is not None:
        config.data = replace(config.data, dir=settings.dir)
    config.device, config.precision, config.threads = settings.device, settings.precision, 0
    execution = prepare(config)
    data = load(config.data)
    trained.check_data(data, settings.weights or str(settings.run))
    loss, error, images = weights.measure(trained, data, settings.split, execution)
    print(
        f"{config.model.name} after {trained.iteration} of {config.recipe.iterations} iterations: "
        f"{settings.split} error {100 * error:.2f} % ({round(error * images)} of {images}), loss {loss:.4f}, "
        f"{execution.precision} on {execution.device}"
    )

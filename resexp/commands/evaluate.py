"""`resexp evaluate`: the error of a trained run, measured again from its checkpoint or from exported weights."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from resexp.config.compose import settings_of
from resexp.config.settings import DataPlace, check_device, require
from resexp.errors import UserError
from resexp.storage.run import Run
from resexp.training import weights


@dataclass
class EvaluateSettings:
    """Root of `resexp evaluate`."""

    run: str | None
    weights: str | None
    split: str
    device: str
    precision: str
    threads: int
    data: DataPlace

    def __post_init__(self) -> None:
        check_device(self.device, self.precision, self.threads)
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
    if settings.run is not None:
        trained = weights.of_run(Run(Path(settings.run)))
    else:
        trained = weights.load_file(Path(settings.weights or ""))
    execution = trained.prepare(settings.device, settings.precision, settings.threads)
    data = trained.data(settings.data.dir)
    loss, error, images = weights.measure(trained, data, settings.split, execution)
    print(
        f"{trained.config.model.name} after {trained.iteration} of {trained.config.recipe.iterations} iterations: "
        f"{settings.split} error {100 * error:.2f}% ({round(error * images)} of {images}), loss {loss:.4f}, "
        f"{execution.precision} on {execution.device}"
        + (f" (trained in {trained.precision})" if trained.precision != execution.precision else "")
    )

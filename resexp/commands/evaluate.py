"""`resexp evaluate`: errors of trained runs, measured again from their checkpoints or from exported weights."""

import logging
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from resexp.analysis.study import existing_runs
from resexp.config.compose import settings_of
from resexp.config.settings import Chosen, DataPlace, check_device, one_of, require
from resexp.errors import UserError
from resexp.printing import Show, printing, warn
from resexp.storage.run import Run
from resexp.training import weights

log = logging.getLogger("resexp")


@dataclass
class EvaluateSettings(Chosen):
    """Root of `resexp evaluate`."""

    runs: str
    weights: str | None
    split: str
    device: str
    precision: str
    threads: int
    data: DataPlace
    json: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        check_device(self.device, self.precision, self.threads)
        alone = "a file is one network; leave model and seed out"
        require(self.weights is None or (self.model, self.seed) == (None, None), "weights", self.weights, alone)
        one_of("split", self.split, "test", "train", "validation")


def task(cfg: DictConfig) -> None:
    """`resexp evaluate`: print the error of each run's last checkpoint, or of exported weights, on one split.

    Raises UserError where a run, its checkpoint, the weights or the images cannot be used; of several runs after the
    others were measured.
    """
    settings = settings_of(cfg, EvaluateSettings)
    with printing(settings.json) as show:
        if settings.weights is not None:
            evaluate(weights.load_file(Path(settings.weights)), settings, show)
            return
        folder = Path(settings.runs)
        study = existing_runs(folder)
        runs = [Run(folder / run.path) for run in study.chosen(settings)]
        warn(study.problems + study.other_precisions(folder))
        failed = 0
        for run in runs:
            try:
                evaluate(weights.of_run(run), settings, show, f"{run}: " if len(runs) > 1 else "")
            except UserError as error:
                if len(runs) == 1:
                    raise
                failed += 1
                log.warning("%s", error if str(run) in str(error) else f"{run}: {error}")
        if failed:
            raise UserError(f"{failed} of {len(runs)} runs could not be measured")


def evaluate(trained: weights.Trained, settings: EvaluateSettings, show: Show, which: str = "") -> None:
    """Measure one network and show its error; `which` of several it is begins the line."""
    execution = trained.prepare(settings.device, settings.precision, settings.threads)
    data = trained.data(settings.data.dir)
    loss, error, images = weights.measure(trained, data, settings.split, execution)
    name, iterations = trained.config.model.name, trained.config.recipe.iterations
    show(
        f"{which}{name} after {trained.iteration} of {iterations} iterations: "
        f"{settings.split} error {100 * error:.2f}% ({round(error * images)} of {images}), loss {loss:.4f}, "
        f"{execution.precision} on {execution.device}"
        + (f" (trained in {trained.precision})" if trained.precision != execution.precision else ""),
        {
            **{"source": trained.source, "model": name, "seed": trained.config.seed},
            **{"iteration": trained.iteration, "iterations": iterations, "split": settings.split},
            **{"error": error, "loss": loss, "images": images},
            **{"precision": execution.precision, "device": str(execution.device), "trained_in": trained.precision},
        },
    )

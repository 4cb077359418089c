"""`resexp export`: trained weights as small files, measured once loaded back."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from resexp.analysis.study import StudyRun, load_study
from resexp.config.compose import settings_of
from resexp.config.settings import DataPlace, check_device, require
from resexp.storage import note
from resexp.storage.run import Run, no_runs
from resexp.system.files import writing_to
from resexp.training import weights

log = logging.getLogger("resexp")


@dataclass
class ExportSettings:
    """Root of `resexp export`."""

    runs: str
    out: str
    networks: list[str]
    seeds: list[int]
    dtype: str
    device: str
    precision: str
    threads: int
    data: DataPlace

    def __post_init__(self) -> None:
        check_device(self.device, self.precision, self.threads)
        require(self.dtype in weights.DTYPES, "dtype", self.dtype, "choose fp16 or fp32")


def task(cfg: DictConfig) -> None:
    """`resexp export`: write the chosen runs' weights and print the files. Raises UserError for what cannot be done."""
    settings = settings_of(cfg, ExportSettings)
    runs, out = Path(settings.runs), Path(settings.out)
    study = load_study(runs)
    chosen = [
        run for run in study.finished if run.result["model"]["name"] in settings.networks and run.seed in settings.seeds
    ]
    if not chosen:
        networks, seeds = ",".join(settings.networks), ",".join(map(str, settings.seeds))
        raise no_runs(runs, study.unreadable(), f"finished run of networks=[{networks}] with seeds=[{seeds}]")
    for problem in study.problems:
        log.warning("%s", problem)
    with writing_to("out"):
        for run in chosen:
            path = out / weights.file_name(run.labels, run.seed)
            if note.holds(path, dtype=settings.dtype, history_sha256=run.record.history_sha256):
                log.info("%s is there already", path)
            else:
                print(export(run, Run(runs / run.path), path, settings))
    log.info("%s bytes together", f"{weights.total_bytes(out):,}")


def export(found: StudyRun, run: Run, path: Path, settings: ExportSettings) -> str:
    """Write one run's weights, load them back and measure them; a line with both errors."""
    trained = weights.of_run(run)
    execution = trained.prepare(settings.device, settings.precision, settings.threads)
    data = trained.data(settings.data.dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights.save(trained, run.config(), data.classes, settings.dtype, path)
    _, error, images = weights.measure(weights.load_file(path), data, "test", execution)
    before = found.final.test_error
    note.write(
        path,
        history_sha256=found.record.history_sha256,
        dtype=settings.dtype,
        iterations=trained.iteration,
        test_error=error,
        run_test_error=before,
        test_images=images,
        measured={"precision": execution.precision, "device": execution.device.type, "torch": torch.__version__},
    )
    return f"{path}  test error {100 * error:.2f}%, of the run {100 * (before or 0):.2f}%"

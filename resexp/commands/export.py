"""`resexp export`: trained weights as small files, measured once loaded back."""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from resexp.analysis.study import StudyRun, load_study
from resexp.config.compose import settings_of
from resexp.config.settings import Chosen, DataPlace, check_device, one_of
from resexp.errors import UserError
from resexp.printing import printing, warn
from resexp.storage import note
from resexp.storage.run import Run, no_runs
from resexp.system.files import writing_to
from resexp.training import weights

log = logging.getLogger("resexp")


@dataclass
class ExportSettings(Chosen):
    """Root of `resexp export`."""

    runs: str
    out: str
    dtype: str
    device: str
    precision: str
    threads: int
    data: DataPlace
    json: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        check_device(self.device, self.precision, self.threads)
        one_of("dtype", self.dtype, *weights.DTYPES)


def task(cfg: DictConfig) -> None:
    """`resexp export`: write the chosen runs' weights and print the files. Raises UserError for what cannot be done."""
    settings = settings_of(cfg, ExportSettings)
    runs, out = Path(settings.runs), Path(settings.out)
    study = load_study(runs)
    chosen = study.chosen(settings, finished=True)
    if not chosen:
        raise no_runs(runs, study.unreadable(), "finished runs" if study.runs else "runs")
    warn(study.problems + study.other_precisions(runs))
    paths = [out / weights.file_name(run.labels, run.seed) for run in chosen]
    if twice := [path for path, count in Counter(paths).items() if count > 1]:
        raise UserError(f"{twice[0]}: the name of two runs with other settings in {runs}; name one of them in runs=")
    with printing(settings.json) as show:
        for run, path in zip(chosen, paths, strict=True):
            there = note.holds(path, dtype=settings.dtype, history_sha256=run.record.history_sha256)
            if there:
                log.info("%s is there already", path)
            else:
                with writing_to("out"):
                    export(run, Run(runs / run.path), path, settings)
            written = note.read(note.note_file(path))
            loaded, before = (100 * (written[key] or 0) for key in ("test_error", "run_test_error"))
            line = f"{path}  test error {loaded:.2f}%, of the run {before:.2f}%"
            show("" if there else line, {"weights": path} | written)
    log.info("%s bytes together", f"{weights.total_bytes(out):,}")


def export(found: StudyRun, run: Run, path: Path, settings: ExportSettings) -> None:
    """Write one run's weights, load them back and measure them; both errors stand in the note beside them."""
    trained = weights.of_run(run)
    execution = trained.prepare(settings.device, settings.precision, settings.threads)
    data = trained.data(settings.data.dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights.save(trained, run.config(), data.classes, settings.dtype, path)
    _, error, images = weights.measure(weights.load_file(path), data, "test", execution)
    note.write(
        path,
        history_sha256=found.record.history_sha256,
        dtype=settings.dtype,
        iterations=trained.iteration,
        test_error=error,
        run_test_error=found.final.test_error,
        test_images=images,
        measured={"precision": execution.precision, "device": execution.device.type, "torch": torch.__version__},
    )

"""`resexp diagnose`: measure what networks show about depth, and draw it. torch is imported only to measure."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from resexp import __version__
from resexp.analysis.study import Group, load_study
from resexp.config.compose import settings_of
from resexp.config.settings import DataPlace, check_device, require
from resexp.diagnose import journal, table
from resexp.diagnose.selection import Selection
from resexp.diagnose.table import DIAGNOSES
from resexp.errors import UserError
from resexp.report.report import write_why
from resexp.storage.provenance import source_version, utc_now
from resexp.storage.run import no_runs

log = logging.getLogger("resexp")


@dataclass
class DiagnoseSettings:
    """Root of `resexp diagnose`."""

    what: str
    runs: str
    out: str
    group: str | None
    networks: list[str] | None
    seeds: list[int] | None
    initial_seeds: list[int]
    iterations: list[int] | None
    batch_size: int
    lesion_images: int
    device: str
    threads: int
    data: DataPlace
    fresh: bool

    def __post_init__(self) -> None:
        require(self.what in ("all", *DIAGNOSES), "what", self.what, f"choose all, {', '.join(DIAGNOSES)}")
        require(self.batch_size >= 2, "batch_size", self.batch_size, "must be 2 or more")
        require(self.lesion_images >= 0, "lesion_images", self.lesion_images, "0 (all test images) or more")
        require(self.threads >= 0, "threads", self.threads, "0 (all cores) or more")
        require(self.networks != [], "networks", "[]", "name some, or leave it out")
        require(self.seeds != [], "seeds", "[]", "name some, or leave it out")
        for iteration in self.iterations or []:
            require(iteration >= 1, "iterations", iteration, "must be 1 or more")
        for name, seeds in (("seeds", self.seeds or []), ("initial_seeds", self.initial_seeds)):
            for seed in seeds:
                require(0 <= seed < 2**31, name, seed, "from 0 to 2147483647")
        check_device(self.device, "fp32")


def task(cfg: DictConfig) -> None:
    """`resexp diagnose`: measure, write CSV, draw; print sentences and files. Raises UserError for wrong settings."""
    settings = settings_of(cfg, DiagnoseSettings)
    study = load_study(Path(settings.runs))
    names = [f"{group.data}/{group.recipe}" for group in study.groups]
    if not names:
        raise no_runs(Path(settings.runs))
    if settings.group is not None and settings.group not in names:
        raise UserError(f"group={settings.group}: no such runs in {settings.runs}; choose {', '.join(names)}")
    for problem in study.problems:
        log.warning("%s", problem)
    for name, group in zip(names, study.groups, strict=True):
        if settings.group in (None, name):
            diagnose(group, settings)


def diagnose(group: Group, settings: DiagnoseSettings) -> None:
    """Measure one group, draw what is then known of it, and say it."""
    chosen = DIAGNOSES if settings.what == "all" else (settings.what,)
    for diagnosis in chosen:
        measure(diagnosis, group, settings)
    report = write_why(group, Path(settings.runs), Path(settings.out), chosen)
    for problem in report.problems:
        log.warning("%s", problem)
    print("\n".join([f"{group.data}/{group.recipe}", *(report.sections or ["nothing could be measured"])]))
    for path in report.files:
        print(path)


def measure(diagnosis: str, group: Group, settings: DiagnoseSettings) -> None:
    """Measure what is not known yet of one group, network by network; each is written as soon as it is there.

    Raises UserError where a network that was asked for by name cannot be measured; others are left out with a line.
    """
    from resexp.diagnose.laboratory import Laboratory

    path = table.table_file(Path(settings.runs), group, diagnosis)
    known, outdated = table.current(table.read(path), group)
    before = journal.read(path)
    for line in outdated:
        log.warning("%s: %s; it is left out", diagnosis, line)
    laboratory = Laboratory(group, Path(settings.runs), settings.device, settings.threads, settings.data)
    selection = Selection(
        diagnosis, group, Path(settings.runs), *laboratory.facts, settings.batch_size, settings.lesion_images
    )
    jobs, left_out = selection.jobs(settings.networks, settings.seeds, settings.initial_seeds, settings.iterations)
    for line in left_out:
        log.warning("%s: %s; it is left out", diagnosis, line)
    wanted = [job for job in jobs if settings.fresh or job.subject not in known]
    if not wanted:
        log.info("%s: nothing new to measure", diagnosis)
        return
    log.info("%s: %d networks on %s", diagnosis, len(wanted), laboratory.execution.device)
    began = time.monotonic()
    session: journal.Entry = {"networks": 0, "images": selection.images, "seconds": 0.0, "started": utc_now()}
    session |= {**laboratory.execution.describe(), "resexp": __version__, **source_version()}
    for job in wanted:
        try:
            readings = laboratory.measure(diagnosis, job)
        except UserError as error:
            if settings.networks is not None:
                raise
            log.warning("%s: %s; it is left out", diagnosis, error)
            continue
        known = table.merge(known, {job.subject: readings})
        table.write(path, known)
        session |= {"networks": session["networks"] + 1, "seconds": round(time.monotonic() - began, 1)}
        journal.write(path, [*before, session])
        log.info("%s: %s", diagnosis, job.subject)

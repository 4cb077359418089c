"""`resexp diagnose`: measure what networks show about depth, and draw it. torch is imported only to measure."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from resexp import __version__
from resexp.analysis.study import Group, existing_runs
from resexp.config.compose import settings_of
from resexp.config.settings import DataPlace, check_device, require
from resexp.diagnose import table
from resexp.diagnose.selection import Choice, Job, Selection
from resexp.diagnose.table import DIAGNOSES
from resexp.errors import UserError
from resexp.formatting import few, listed
from resexp.printing import Show, printing, warn
from resexp.report.report import listed_files, write_why
from resexp.storage.provenance import source_version, utc_now

log = logging.getLogger("resexp")


@dataclass
class DiagnoseSettings(Choice):
    """Root of `resexp diagnose`."""

    what: str
    runs: str
    out: str
    group: str | None
    weights: str | None
    save: str | None
    device: str
    threads: int
    data: DataPlace
    fresh: bool
    verbose: bool
    json: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.what in ("all", *DIAGNOSES), "what", self.what, f"choose all, {', '.join(DIAGNOSES)}")
        check_device(self.device, "fp32", self.threads)


def task(cfg: DictConfig) -> None:
    """`resexp diagnose`: measure, write CSV, draw; print sentences and files. Raises UserError for wrong settings."""
    settings = settings_of(cfg, DiagnoseSettings)
    study = existing_runs(Path(settings.runs))
    groups = {f"{group.data}/{group.recipe}": group for group in study.groups}
    if settings.group not in (None, *groups):
        raise UserError(f"group={settings.group}: no such runs in {settings.runs}; choose {', '.join(groups)}")
    warn(study.problems + study.other_precisions(Path(settings.runs)))
    if settings.what in ("all", "gradients") and len(settings.initial_seeds) == 1:
        warn(
            [f"initial_seeds={settings.initial_seeds[0]}: an interval over seeds needs two or more; there will be none"]
        )
    with printing(settings.json) as show:
        for name, group in groups.items():
            if settings.group in (None, name):
                diagnose(group, settings, show)


def diagnose(group: Group, settings: DiagnoseSettings, show: Show) -> None:
    """Measure one group, draw all that is then known of it, and print what it shows."""
    chosen = DIAGNOSES if settings.what == "all" else (settings.what,)
    for diagnosis in chosen:
        measure(diagnosis, group, settings)
    report = write_why(group, Path(settings.runs), Path(settings.out), chosen, settings.verbose)
    warn(report.problems)
    said = report.why or ["nothing could be measured"]
    show("\n".join([f"{group.data}/{group.recipe}", *said]), *report.records)
    show(listed_files(report.files, settings.verbose))


def measure(diagnosis: str, group: Group, settings: DiagnoseSettings) -> None:
    """Measure what is not known yet of one group, network by network; each is written as soon as it is measured.

    Raises UserError where a network that was named cannot be measured; others are left out with a line.
    """
    from resexp.diagnose.setup import Setup

    runs = Path(settings.runs)
    path = table.table_file(runs, group, diagnosis)
    known, outdated = table.current(table.read(path), group)
    sessions = table.read_sessions(path)
    places = [Path(folder) if folder else None for folder in (settings.weights, settings.save)]
    setup = Setup(group, runs, settings.device, settings.threads, settings.data.dir, *places)
    selection = Selection(diagnosis, group, runs, setup.images, settings)
    jobs, left_out = selection.jobs()
    for line in few(list(dict.fromkeys(outdated + left_out))):
        log.warning("%s: %s; it is left out", diagnosis, line)
    jobs = [job for job in jobs if settings.fresh or job.subject not in known or setup.built_file(job)]
    if not jobs:
        log.info("%s: nothing new to measure", diagnosis)
        return
    log.info("%s: %d networks on %s", diagnosis, len(jobs), setup.execution.device)
    began = time.monotonic()
    session: table.Session = {"networks": 0, "images": "", "seconds": 0.0, "started": utc_now()}
    session |= {**setup.execution.describe(), "resexp": __version__, **source_version()}
    done: list[Job] = []
    for job in jobs:
        try:
            readings = setup.measure(diagnosis, job)
        except UserError as error:
            if settings.model is not None:
                raise
            log.warning("%s: %s; it is left out", diagnosis, error)
            continue
        known = table.merge(known, {job.subject: readings})
        done.append(job)
        session |= {"networks": len(done), "seconds": round(time.monotonic() - began, 1)}
        session["images"] = listed(list(dict.fromkeys(one.subject.images for one in done)))
        session["precision"] = listed(list(dict.fromkeys(setup.precision(diagnosis, one) for one in done)))
        table.write(path, known, [*sessions, session])
        log.info("%s: %s", diagnosis, job.subject)

"""Diagnoses on disk: numbers, and on what they were measured. No torch here: figures are drawn without it."""

import csv
import io
from dataclasses import dataclass, fields
from pathlib import Path

from resexp.analysis.study import Group, StudyRun, title
from resexp.errors import UserError
from resexp.storage.run import FINISHED
from resexp.system.files import write_text, writing_to

DIAGNOSES = ("gradients", "responses", "lesions")
INITIALISATION, SNAPSHOT, CHECKPOINT = "initialisation", "snapshot", "checkpoint"
PLAIN, RESIDUAL = "plain", "residual"


@dataclass(frozen=True)
class Subject:
    """What was measured: a network with its initial weights, or with those of a run's end or an earlier evaluation."""

    network: str
    family: str
    """plain or residual"""
    depth: int
    norm: str
    seed: int
    source: str
    """initialisation, snapshot (weights kept on the way) or checkpoint (those of the end)"""
    iteration: int
    images: str
    """What it was shown, in words."""
    data_sha256: str
    """Of the data set, as the runs recorded it."""
    history_sha256: str
    """Of the run's curve, which another training would change; empty at initialisation."""

    @property
    def key(self) -> tuple[str, int, str, str, int]:
        """What there is one measurement of."""
        return self.network, self.seed, self.norm, self.source, self.iteration

    def __str__(self) -> str:
        when = "at initialisation" if self.source == INITIALISATION else f"after {self.iteration:,} iterations"
        return f"{title(self.network)} seed {self.seed} {when}{' without norm' if self.norm == 'none' else ''}"


@dataclass(frozen=True)
class Reading:
    """One number: a quantity of the layer or block `name`, the `position`-th from the images, counted from 1."""

    quantity: str
    position: int
    name: str
    value: float


Measured = dict[Subject, list[Reading]]

COLUMNS = tuple(field.name for kind in (Subject, Reading) for field in fields(kind))


def table_file(runs: Path, group: Group, diagnosis: str) -> Path:
    """Where the numbers of a diagnosis lie: beside the runs, since they belong to them."""
    return runs / "diagnoses" / group.data / group.recipe / f"{diagnosis}.csv"


def gather(runs: Path, group: Group, diagnosis: str) -> Measured:
    """All numbers of a diagnosis below a folder of runs, which may hold several folders. Raises UserError as `read`."""
    measured: Measured = {}
    below = table_file(Path("**"), group, diagnosis).as_posix()
    for path in sorted(runs.glob(below)):
        measured = merge(measured, read(path))
    return measured


def merge(known: Measured, more: Measured) -> Measured:
    """Both; what was measured anew, on whatever images, takes the place of what was known."""
    anew = {subject.key for subject in more}
    return {subject: readings for subject, readings in known.items() if subject.key not in anew} | more


def text(measured: Measured) -> str:
    """The numbers as CSV, a row for each, in a fixed order."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for subject in sorted(measured, key=lambda subject: (subject.family, subject.depth, subject.key)):
        head = tuple(vars(subject).values())  # astuple copies each value: most of the time of a table of many networks
        writer.writerows(
            (*head, reading.quantity, reading.position, reading.name, f"{reading.value:.6g}")
            for reading in measured[subject]
        )
    return out.getvalue()


def write(path: Path, measured: Measured) -> None:
    """Replace the file. Raises UserError where it cannot be written."""
    with writing_to("runs"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text(measured))


def read(path: Path) -> Measured:
    """What the file holds, nothing where there is none. Raises UserError naming it where it is damaged."""
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError) as error:
        raise UserError(f"{path} cannot be read; delete it and measure again") from error
    rows = csv.reader(content.splitlines())
    measured: Measured = {}
    try:
        if tuple(next(rows)) != COLUMNS:
            raise ValueError("its heading is another")
        for network, family, depth, norm, seed, source, iteration, images, data, history, *rest in rows:
            subject = Subject(
                network, family, int(depth), norm, int(seed), source, int(iteration), images, data, history
            )
            quantity, position, name, value = rest
            measured.setdefault(subject, []).append(Reading(quantity, int(position), name, float(value)))
    except (ValueError, StopIteration, csv.Error) as error:
        raise UserError(f"{path} is damaged; delete it and measure again with resexp diagnose") from error
    return measured


def digest_of(group: Group) -> str:
    """Of the images that the group's runs were trained on; empty where none recorded it."""
    runs = [run for network in group.networks for run in network.runs]
    return next((str(run.record.data["digest"]) for run in runs if run.record.data.get("digest")), "")


def current(measured: Measured, group: Group) -> tuple[Measured, list[str]]:
    """What still holds, and a line for each subject that does not: the run or the images are no longer those."""
    kept: Measured = {}
    problems: list[str] = []
    data = digest_of(group)
    runs = {(network.name, run.seed): run for network in group.networks for run in network.runs}
    for subject, readings in measured.items():
        run = runs.get((subject.network, subject.seed))
        if data and subject.data_sha256 != data:
            problems.append(f"{subject}: measured on other images")
        elif subject.source != INITIALISATION and run is None:
            problems.append(f"{subject}: its run is no longer there")
        elif subject.source != INITIALISATION and run and run.record.history_sha256 != subject.history_sha256:
            problems.append(f"{subject}: the run was trained again since it was measured")
        else:
            kept[subject] = readings
    return kept, problems


def why_not(run: StudyRun | None, must_have_trained: bool) -> str | None:
    """Why a run cannot be diagnosed, in words; None where it can."""
    if run is None:
        return "not run"
    if run.state != FINISHED:
        return run.progress
    if must_have_trained and not run.trained:
        return f"did not train, running training error {100 * run.final.running_error:.1f}%"
    return None

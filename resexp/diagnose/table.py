"""A diagnosis on disk: its numbers as CSV and, beside it, its sessions as JSON. No torch: figures need none."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from operator import itemgetter
from pathlib import Path
from typing import Any, get_type_hints

from resexp.analysis.study import Group, StudyRun, title
from resexp.errors import UserError
from resexp.formatting import csv_text
from resexp.storage.run import SESSION
from resexp.system import schema
from resexp.system.files import SEAL, folders, sealed, unsealed, write_text, writing_to

DIAGNOSES = ("gradients", "responses", "lesions", "construction")
INITIALISATION, SNAPSHOT, CHECKPOINT = "initialisation", "snapshot", "checkpoint"
BUILT_FROM = "built from "
PLAIN, RESIDUAL = "plain", "residual"

NEAR = 0.1
"""A block is near the identity where the norm of what it adds is below this part of its shortcut's."""


@dataclass(frozen=True)
class Subject:
    """What was measured: a network with its initial weights, those of a run, or those of a shallower network."""

    network: str
    family: str
    """plain or residual"""
    depth: int
    norm: str
    seed: int
    source: str
    """initialisation, snapshot (weights kept during training), checkpoint (those at the end), or built from NETWORK"""
    iteration: int
    images: str
    """Those it was measured on, in words."""
    data_sha256: str
    """Of the data set, as the runs recorded it."""
    history_sha256: str
    """Of the run's curve, which training again would change; empty at initialisation."""
    scale: float = 1.0
    """By what the initial weights of convolutions are multiplied; 1 are He weights."""

    @property
    def key(self) -> tuple[str, int, str, str, int, float]:
        """What is measured once."""
        return self.network, self.seed, self.norm, self.source, self.iteration, self.scale

    @property
    def kind(self) -> str:
        """What is unlike the paper's networks: " without norm, weights times 0.7"; empty where nothing is."""
        scaled = "" if self.scale == 1 else f", weights times {self.scale:g}"
        return f"{' without norm' if self.norm == 'none' else ''}{scaled}"

    @property
    def built(self) -> bool:
        """Whether it was built from a shallower network instead of being trained."""
        return self.source.startswith(BUILT_FROM)

    @property
    def trained_as(self) -> str:
        """The network whose run its weights come from."""
        return self.source.removeprefix(BUILT_FROM) if self.built else self.network

    def __str__(self) -> str:
        if self.built:
            return f"{title(self.network)} {BUILT_FROM}{title(self.trained_as)} seed {self.seed}"
        when = "at initialisation" if self.source == INITIALISATION else f"after {self.iteration:,} iterations"
        return f"{title(self.network)} seed {self.seed} {when}{self.kind}"


@dataclass(frozen=True)
class Reading:
    """One number: a quantity of the layer or block `name`, the `position`-th from the input, counted from 1."""

    quantity: str
    position: int
    name: str
    value: float


def numbered(quantity: str, values: dict[str, float]) -> list[Reading]:
    """A quantity of layers or blocks by name, from the input on."""
    return [Reading(quantity, position, name, value) for position, (name, value) in enumerate(values.items(), start=1)]


Measured = dict[Subject, list[Reading]]

Session = dict[str, Any]
"""One session of measuring: networks (how many), images (in words), seconds, started, device, versions, commit."""

SESSIONS = schema.each(
    schema.fields(SESSION | {"networks": schema.whole(), "images": schema.label}, ("networks", "seconds", "started"))
)
"""What the JSON may hold."""
SHOWN = schema.each(schema.label)

FIELDS = fields(Subject) + fields(Reading)
COLUMNS = tuple(field.name for field in FIELDS)
NEEDED = {field.name for field in FIELDS if field.default is MISSING}
"""A table may lack the other columns, whose default then holds for all its rows."""
TYPES = get_type_hints(Subject) | get_type_hints(Reading)
"""What makes a cell of each column a value: str, int or float."""


def table_file(runs: Path, group: Group, diagnosis: str) -> Path:
    """The CSV of a diagnosis: beside the runs, since it belongs to them."""
    return runs / "diagnoses" / group.data / group.recipe / f"{diagnosis}.csv"


def gather(tables: list[Path], group: Group, diagnosis: str) -> Measured:
    """All numbers of a diagnosis of a group in some tables; folders may hold several. Raises UserError as `read`."""
    measured: Measured = {}
    wanted = table_file(Path(), group, diagnosis).parts
    for path in tables:
        if path.parts[-len(wanted) :] == wanted:
            measured = merge(measured, read(path))
    return measured


def files(runs: Path) -> list[Path]:
    """All tables of diagnoses below a folder of runs, in order of their paths; links are followed."""
    return sorted(
        place / name
        for place, names in folders(runs)
        for name in names or ()
        if len(place.parts) > 2 and place.parts[-3] == "diagnoses" and name in {f"{one}.csv" for one in DIAGNOSES}
    )


def merge(known: Measured, more: Measured) -> Measured:
    """Both; what was measured again, on whatever images, takes the place of what was known."""
    again = {subject.key for subject in more}
    return {subject: readings for subject, readings in known.items() if subject.key not in again} | more


def text(measured: Measured) -> str:
    """The numbers as CSV, a row for each, in a fixed order."""
    rows: list[list[str]] = []
    for subject in sorted(measured, key=lambda subject: (subject.family, subject.depth, subject.key)):
        # As text, of which no digit is cut off; astuple copies each value, which is slow where networks are many.
        head = [*map(str, vars(subject).values())]
        rows += [
            [*head, reading.quantity, str(reading.position), reading.name, f"{reading.value:.6g}"]
            for reading in measured[subject]
        ]
    return csv_text(COLUMNS, rows)


def write(path: Path, measured: Measured, sessions: Sequence[Session] = ()) -> None:
    """Replace the CSV, whose last line is its digest, and the JSON if there were sessions.

    Raises UserError where that cannot be.
    """
    with writing_to("runs"):
        path.parent.mkdir(parents=True, exist_ok=True)
        if sessions:  # first: a process that is killed between the two leaves no numbers without their session
            write_text(path.with_suffix(".json"), json.dumps(sessions, indent=1) + "\n")
        write_text(path, sealed(text(measured)))


def read(path: Path) -> Measured:
    """What the CSV holds, nothing where there is none. Raises UserError naming it where it is damaged or was edited."""
    measured: Measured = {}
    subjects: dict[tuple[str, ...], Subject] = {}
    try:
        content = path.read_text(encoding="utf-8")
        if SEAL in content:  # tables of a report have no digest, nor have those of versions before
            content = unsealed(content)
        rows = csv.reader(content.splitlines())
        heading = next(rows)
        if not NEEDED <= set(heading) <= set(COLUMNS):
            raise ValueError("its heading is another")
        split = len(heading) - len(fields(Reading))
        for row in rows:
            head = tuple(row[:split])
            if head not in subjects:
                SHOWN([*head], "")
                subjects[head] = Subject(**_values(heading[:split], head))
            reading = Reading(**_values(heading[split:], row[split:]))
            SHOWN([reading.quantity, reading.name], "")
            measured.setdefault(subjects[head], []).append(reading)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, StopIteration, csv.Error) as error:
        raise UserError(f"{path} is damaged; delete it and measure again with resexp diagnose") from error
    return measured


def _values(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    """Cells by column. Raises ValueError where one is missing or no number."""
    return {column: TYPES[column](cell) for column, cell in zip(columns, cells, strict=True)}


def read_sessions(path: Path) -> list[Session]:
    """The sessions of a CSV, none where there is no file. Raises UserError naming the file where it is damaged."""
    path = path.with_suffix(".json")
    try:
        sessions = json.loads(path.read_text(encoding="utf-8"))
        SESSIONS(sessions, "")
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged; delete it, the CSV beside it does not need it") from error
    return sessions


def add(source: Path, target: Path) -> None:
    """Add the numbers and sessions of one table to another. Raises UserError as reading and writing do."""
    sessions = {session["started"]: session for path in (target, source) for session in read_sessions(path)}
    write(target, merge(read(target), read(source)), sorted(sessions.values(), key=itemgetter("started")))


def current(measured: Measured, group: Group) -> tuple[Measured, list[str]]:
    """What still holds, and a line for each subject that does not: its run or the images have changed since."""
    kept: Measured = {}
    problems: list[str] = []
    data = group.images.get("digest")
    curves = {(network.name, run.seed): run.record.history_sha256 for network in group.networks for run in network.runs}
    for subject, readings in measured.items():
        curve = curves.get((subject.trained_as, subject.seed))
        trained = subject.source != INITIALISATION
        if data and subject.data_sha256 != data:
            problems.append(f"{subject}: measured on other images")
        elif trained and curve is None:
            problems.append(f"{subject}: its run is no longer there")
        elif trained and curve != subject.history_sha256:
            problems.append(f"{subject}: the run was trained again since it was measured")
        else:
            kept[subject] = readings
    return kept, problems


def comparable(measured: Measured) -> tuple[Measured, list[str]]:
    """What was measured on as many images as most with that norm, and a line for each subject that was not."""
    counts = Counter((subject.norm, subject.images) for subject in measured)
    usual = {norm: images for (norm, images), _ in reversed(counts.most_common())}
    others = [subject for subject in measured if subject.images != usual[subject.norm]]
    problems = [f"{subject}: measured on {subject.images}, most on {usual[subject.norm]}" for subject in others]
    return {one: readings for one, readings in measured.items() if one not in others}, problems


def why_not(run: StudyRun | None, must_have_trained: bool) -> str | None:
    """Why a run cannot be diagnosed, in words; None where it can."""
    if run is None:
        return "not run"
    if not run.finished:
        return run.progress
    if must_have_trained and not run.trained:
        return f"did not train, running training error {100 * run.final.running_error:.1f}%"
    return None

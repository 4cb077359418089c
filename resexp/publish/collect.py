"""The small files of finished runs, copied to where they are committed; nothing in them tells of a machine's places."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from resexp.analysis.study import PARTS, StudyRun, load_study
from resexp.diagnose import journal, table
from resexp.errors import UserError
from resexp.formatting import plural
from resexp.report.tables import csv_text
from resexp.storage.run import FINISHED, Run, no_runs, without_places
from resexp.system.files import write_text, writing_to

SUMMARY = "summary.csv"
SUMMARY_COLUMNS = (
    "network",
    "family",
    "depth",
    "seed",
    "data",
    "recipe",
    "iterations",
    "final_running_error",
    "clean_train_error",
    "test_error",
    "seconds",
    "device",
)


@dataclass
class Collection:
    """What became of the runs of a folder."""

    copied: list[Path] = field(default_factory=list[Path])
    there: list[Path] = field(default_factory=list[Path])
    """Runs that had been collected before, with the same curve."""
    left_out: list[StudyRun] = field(default_factory=list[StudyRun])
    """Runs that are not finished."""
    problems: list[str] = field(default_factory=list[str])


def collect(runs: Path, folder: Path) -> Collection:
    """Copy every finished run below `runs` to DATA/RECIPE/NETWORK/seedK in `folder`.

    Raises UserError where none is finished, where another curve of the same run lies there (nothing is copied then),
    or where `folder` cannot be written.
    """
    study = load_study(runs)
    found = Collection(problems=study.problems, left_out=[run for run in study.runs if run.state != FINISHED])
    wanted: dict[Path, StudyRun] = {}
    for run in study.runs:
        if run.state == FINISHED and wanted.setdefault(run_folder(folder, run), run) is not run:
            raise UserError(f"{runs / run.path}: another run of the same name, with other settings, lies in {runs}")
    if not wanted:
        hint = f" ({plural(len(found.left_out), 'run')} not finished)" if found.left_out else ""
        raise no_runs(runs, hint, "finished runs")
    for place, run in wanted.items():
        source, target = Run(runs / run.path), Run(place)
        if not target.history_file.exists():
            continue
        if target.history_file.read_bytes() != source.history_file.read_bytes():
            remedy = "choose another name=NAME, or remove the one that is not wanted"
            raise UserError(f"{target} holds another curve of the same run than {source}; {remedy}")
        found.there.append(place)
    with writing_to("out"):
        for place in wanted.keys() - set(found.there):
            copy(Run(runs / wanted[place].path), Run(place))
            found.copied.append(place)
        collect_diagnoses(runs, folder)
    found.copied.sort()
    return found


def collect_diagnoses(runs: Path, folder: Path) -> None:
    """Add what diagnoses measured to what was collected before; what no longer holds is left out by those who read."""
    for path in sorted(runs.glob("**/diagnoses/*/*/*.csv")):
        target = folder / "diagnoses" / Path(*path.parts[-3:])
        table.write(target, table.merge(table.read(target), table.read(path)))
        sessions = journal.merge(journal.read(target), journal.read(path))
        if sessions:
            journal.write(target, sessions)


def run_folder(folder: Path, run: StudyRun) -> Path:
    """Where a run is collected: its place follows from its settings, not from where it was trained."""
    data, recipe, model = (run.labels[part] for part in PARTS)
    return folder / data / recipe / model / f"seed{run.seed}"


def copy(source: Run, target: Run) -> None:
    """Copy one run's small files; history.csv last, so that what was interrupted is done again."""
    record = replace(source.record(), process={}, error=None)
    target.directory.mkdir(parents=True, exist_ok=True)
    target.write_config(without_places(source.config()))
    target.write_record(record)
    write_text(target.history_file, source.history_file.read_text(encoding="utf-8"))


def summary(results: Path) -> str:
    """summary.csv of everything that was collected: errors as fractions, a row for each run."""
    rows: list[list[Any]] = []
    for group in load_study(results).groups:
        for network in group.networks:
            family = "residual" if network.model["residual"] else "plain"
            for run in network.finished:
                final = run.final
                errors = [final.running_error, final.clean_train_error, final.test_error]
                named = [network.name, family, network.model["depth"], run.seed, group.data, group.recipe]
                rows.append([*named, run.iterations, *errors, run.record.seconds, run.device])
    return csv_text(SUMMARY_COLUMNS, rows)

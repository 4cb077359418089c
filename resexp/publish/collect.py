"""The small files of finished runs, copied to where they are committed; nothing in them names a machine's folders."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from resexp.analysis.study import Study, StudyRun, load_study
from resexp.config.presets import PARTS
from resexp.diagnose import table
from resexp.errors import UserError
from resexp.formatting import csv_text, plural
from resexp.report.answers import REMARKS
from resexp.storage.run import Run, no_runs, without_places
from resexp.system.files import replacing, write_text, writing_to

SUMMARY = "summary.csv"


@dataclass
class Collection:
    """What became of the runs of a folder."""

    copied: list[Path] = field(default_factory=list[Path])
    there: list[Path] = field(default_factory=list[Path])
    """Runs that had been collected before, with the same curve."""
    unfinished: int = 0
    problems: list[str] = field(default_factory=list[str])


def collect(runs: Path, folder: Path) -> Collection:
    """Copy every finished run below `runs` to DATA/RECIPE/NETWORK/seedK in `folder`.

    Raises UserError where none is finished, where another curve of the same run lies there (nothing is copied then),
    or where `folder` cannot be written.
    """
    study = load_study(runs)
    result = Collection(unfinished=len(study.runs) - len(study.finished), problems=study.problems)
    result.problems += [
        f"{run.path}: there in another precision; collect it under another name" for run in study.repeats
    ]
    if not study.finished:
        hint = f" ({plural(result.unfinished, 'run')} not finished)" if result.unfinished else ""
        raise no_runs(runs, hint + study.unreadable(), "finished runs" if study.runs else "runs")
    wanted: dict[Path, Run] = {}
    for run in study.finished:
        source, target = Run(runs / run.path), Run(run_folder(folder, run))
        if target.directory in wanted:
            raise UserError(f"{source}: another run of the same name, with other settings, lies in {runs}")
        wanted[target.directory] = source
        if os.access(target.history_file, os.F_OK):
            if target.history_file.read_bytes() != source.history_file.read_bytes():
                remedy = "choose another name=NAME, or remove the one that is not wanted"
                raise UserError(f"{target} holds another curve of the same run than {source}; {remedy}")
            if whole(target):
                result.there.append(target.directory)
    result.copied = sorted(wanted.keys() - set(result.there))
    with writing_to("out"):
        for place in result.copied:
            copy(wanted[place], Run(place))
        beside = {(source.directory.resolve().parent.parent, place.parent.parent) for place, source in wanted.items()}
        for source, target in sorted(beside):
            result.problems += copy_remarks(source, target)
        for path in table.files(runs):
            table.add(path, folder / "diagnoses" / Path(*path.parts[-3:]))
    return result


def whole(run: Run) -> bool:
    """Whether a run that was collected can still be read."""
    try:
        return run.is_complete(run.read()[1])
    except UserError:
        return False


def run_folder(folder: Path, run: StudyRun) -> Path:
    """Where a run is collected: its place follows from its settings, not from where it was trained."""
    data, recipe, model = (run.labels[part] for part in PARTS)
    return folder / data / recipe / model / f"seed{run.seed}"


def copy(source: Run, target: Run) -> None:
    """Copy one run's small files; history.csv last, so that an interrupted copy is made again."""
    content, known = source.read()
    start = known.start | {"file": PurePath(known.start["file"]).name} if known.start else {}
    record = replace(known, start=start, process={}, error=None)
    target.directory.mkdir(parents=True, exist_ok=True)
    record.config_sha256 = target.write_config(without_places(content))
    target.write_record(record)
    write_text(target.history_file, source.history_file.read_text(encoding="utf-8"))


def copy_remarks(source: Path, target: Path) -> list[str]:
    """Copy what people have written beside a group's networks, unless something has been written there already.

    A line where it cannot be read, or stands beside networks of more than this group, whose images have other settings.
    """
    if (target / REMARKS).exists():
        return []
    try:
        text = (source / REMARKS).read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"{source / REMARKS}: {error.strerror}; it is left out"]
    if source.parts[-2:] != target.parts[-2:]:
        group = "/".join(target.parts[-2:])
        return [f"{source / REMARKS}: left out for {group}; if it is meant for that, copy it to {target / REMARKS}"]
    with replacing(target / REMARKS) as file:
        file.write(text)
    return []


def summary(study: Study) -> str:
    """summary.csv of everything that was collected: errors as fractions, a row for each run."""
    networks = [(group, network) for group in study.groups for network in group.networks]
    rows = [
        _row(group.data, group.recipe, network.name, run) for group, network in networks for run in network.finished
    ]
    rows += [
        _row(run.label("data"), run.label("recipe"), run.label("model"), run) for run in study.repeats if run.finished
    ]
    return csv_text(tuple(rows[0]), [list(row.values()) for row in rows])


def _row(data: str, recipe: str, network: str, run: StudyRun) -> dict[str, Any]:
    return {
        "network": network,
        "family": "residual" if run.model["residual"] else "plain",
        "depth": run.model["depth"],
        "seed": run.seed,
        "data": data,
        "recipe": recipe,
        "iterations": run.iterations,
        "final_running_error": run.final.running_error,
        "clean_train_error": run.final.clean_train_error,
        "test_error": run.final.test_error,
        "seconds": run.record.seconds,
        "device": run.device,
    }

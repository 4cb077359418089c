"""A folder of runs -> figures, tables and one page. No torch, and matplotlib only to draw."""

from dataclasses import dataclass, field
from pathlib import Path

from resexp.analysis.rerun import commands
from resexp.analysis.study import Group, load_study
from resexp.report import tables
from resexp.report.answers import answers
from resexp.report.captions import setting_words
from resexp.report.figures import figure1, figure6
from resexp.report.page import render
from resexp.report.sections import GroupPage
from resexp.report.spec import Plate
from resexp.report.why.findings import findings
from resexp.storage.run import no_runs
from resexp.system.files import replacing, writing_to


@dataclass
class Report:
    """What was written, and what it says of each group."""

    sections: list[str] = field(default_factory=list[str])
    """For each group what it is, its verdict and its short table, as text."""
    files: list[Path] = field(default_factory=list[Path])
    problems: list[str] = field(default_factory=list[str])


def write_report(runs: Path, out: Path, margin: float = 0.005, paper_points: bool = False) -> Report:
    """Write figures, tables and index.html to `out`; `margin` is a fraction. Only `out` is written to.

    Raises UserError where there are no runs, or `out` cannot be written.
    """
    study = load_study(runs)
    if not study.groups:
        hint = f" ({len(study.problems)} could not be read: {study.problems[0]})" if study.problems else ""
        raise no_runs(runs, hint)
    report = Report(problems=study.problems)
    pages = [_write_group(group, runs, out, margin, paper_points, report) for group in study.groups]
    index = out / "index.html"
    _write(index, render(pages, study.problems, runs).encode())
    report.files.insert(0, index)
    return report


def _write_group(group: Group, runs: Path, out: Path, margin: float, paper_points: bool, report: Report) -> GroupPage:
    """The files of one group."""
    from resexp.report.draw import draw_panels

    said = answers(group, runs, margin)
    report.problems += said.problems
    page = GroupPage(group, said, margin, {}, {}, commands(group), runs)
    files = {
        "table.md": tables.markdown(group).encode(),
        "final.csv": tables.final_csv(group).encode(),
        "claims.md": tables.claims_markdown(said.claims).encode(),
        "contrasts.csv": tables.contrasts_csv(said.verdict).encode(),
        "curves.csv": tables.curves_csv(group).encode(),
    }
    plates = [figure1(group), figure6(group, paper_points), *(finding.plate for finding in said.findings.values())]
    for plate in filter(None, plates):
        page.plates[plate.name] = plate
        page.panels[plate.name] = draw_panels(plate, page.anchor)
        files |= _drawn(plate)
    report.files += _write_all(files | said.csv, group, out)
    sentences = "\n".join([said.sentence, *(finding.sentence for finding in said.findings.values())])
    report.sections.append(f"{setting_words(group)}\n{sentences}\n\n{tables.short(group)}\n")
    return page


def write_why(group: Group, runs: Path, out: Path, diagnoses: tuple[str, ...]) -> Report:
    """Write figures and CSV of some diagnoses of one group to `out`. Raises UserError where that cannot be."""
    found, csv, problems = findings(group, runs)
    report = Report(problems=problems)
    for diagnosis in diagnoses:
        if diagnosis in found:
            files = {f"{diagnosis}.csv": csv[f"{diagnosis}.csv"]} | _drawn(found[diagnosis].plate)
            report.files += _write_all(files, group, out)
            report.sections.append(found[diagnosis].sentence)
    return report


def _drawn(plate: Plate) -> dict[str, bytes]:
    from resexp.report.draw import draw

    png, svg = draw(plate)
    return {f"{plate.name}.png": png, f"{plate.name}.svg": svg}


def _write_all(files: dict[str, bytes], group: Group, out: Path) -> list[Path]:
    """The files of a group in its folder."""
    folder = out / group.data / group.recipe
    for name, content in files.items():
        _write(folder / name, content)
    return [folder / name for name in sorted(files)]


def _write(path: Path, content: bytes) -> None:
    with writing_to("out"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content)

"""A folder of runs -> figures, tables and one page. No torch, and matplotlib only to draw."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resexp.analysis.compare import Comparison, comparisons, only_compared
from resexp.analysis.study import Group, existing_runs
from resexp.analysis.wording import brief
from resexp.formatting import plural, wrapped
from resexp.report import compare, page, tables
from resexp.report.answers import Answers, answers
from resexp.report.captions import setting_words
from resexp.report.draw import draw
from resexp.report.figures import figure1, figure6
from resexp.report.spec import Plate
from resexp.report.why.findings import findings
from resexp.report.why.profiles import Finding
from resexp.system.files import replacing, writing_to

COMPARED = "compare"
"""Folder of comparisons, beside those of data sets."""


@dataclass
class Report:
    """What was written, and what it says of each group."""

    sections: list[str] = field(default_factory=list[str])
    """For each group what it is, its contrasts and its table, as text."""
    why: list[str] = field(default_factory=list[str])
    """For each group its verdict in words and each finding of its diagnoses."""
    files: list[Path] = field(default_factory=list[Path])
    problems: list[str] = field(default_factory=list[str])
    records: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The same for programs, errors as fractions: a record for each group, diagnosis, or row of a comparison."""


def write_report(runs: Path, out: Path, margin: float = 0.005, paper_points: bool = False) -> Report:
    """Write figures, tables and index.html to `out`; `margin` is a fraction. Only `out` is written to.

    Raises UserError where there are no runs, or `out` cannot be written.
    """
    study = existing_runs(runs)
    report = Report(problems=study.problems)
    found = comparisons(study)
    folded = only_compared(study, found)
    groups: list[dict[str, Any]] = []
    for group in study.groups:
        answer = answers(group, study.groups, runs, margin)
        plates = _write_group(group, answer, out, paper_points, group in folded, report)
        said = {"verdict": answer.sentence, "networks": tables.networks_records(group)}
        said |= {"contrasts": tables.contrasts_records(answer.verdict), "claims": answer.claims}
        found_inside = {name: finding.sentence for name, finding in answer.findings.items()}
        report.records.append({"data": group.data, "recipe": group.recipe, **said, "diagnoses": found_inside})
        groups.append(page.values(group, answer, margin, plates, runs, group in folded))
    compared = [_write_comparison(comparison, out, report) for comparison in found]
    html = page.render(groups, compared, study.problems, runs)
    report.files = _write({"index.html": html.encode()}, out) + report.files
    return report


def _write_group(
    group: Group, answer: Answers, out: Path, paper_points: bool, folded: bool, report: Report
) -> dict[str, Plate]:
    """The files of one group; its figures. Of a folded one a comparison shows all but what its diagnoses found."""
    report.problems += answer.problems
    tabled = {
        "table.md": tables.markdown(group).encode(),
        "final.csv": tables.final_csv(group).encode(),
        "claims.md": tables.claims_table(answer.claims).markdown().encode(),
        "contrasts.csv": tables.contrasts_csv(answer.verdict).encode(),
        "curves.csv": tables.curves_csv(group).encode(),
    }
    evidence = {claim.evidence for claim in answer.tested}
    files = {name: content for name, content in tabled.items() if not folded or name in evidence}
    figures = [] if folded else [figure1(group), figure6(group, paper_points)]
    figures += [one.plate for one in answer.findings.values()]
    plates = {plate.name: plate for plate in figures if plate}
    for plate in plates.values():
        files |= draw(plate)
    report.files += _write(files | answer.csv, out / group.data / group.recipe)
    report.why += [wrapped(f"{setting_words(group)}\n{answer.sentence}\n")]
    report.why += [_said(finding) for finding in answer.findings.values()]
    if not folded:
        words = wrapped(f"{setting_words(group)}\n{brief(group, answer.verdict)}")
        report.sections.append(f"{words}\n\n{tables.short(group)}\n")
    return plates


def write_why(group: Group, runs: Path, out: Path, diagnoses: tuple[str, ...], verbose: bool) -> Report:
    """Write figures and CSV of some diagnoses of one group to `out`; say all tables or the first of each.

    Raises UserError where that cannot be.
    """
    found, csv, problems = findings(group, runs)
    report = Report(problems=problems)
    for diagnosis in diagnoses:
        if diagnosis in found:
            plate = found[diagnosis].plate
            files = {f"{diagnosis}.csv": csv[f"{diagnosis}.csv"]} | (draw(plate) if plate else {})
            report.files += _write(files, out / group.data / group.recipe)
            report.why.append(_said(found[diagnosis], None if verbose else 1))
            about = {"data": group.data, "recipe": group.recipe, "diagnosis": diagnosis}
            rows = [one for table in found[diagnosis].tables for one in table.records()]
            csv_file = out / group.data / group.recipe / f"{diagnosis}.csv"
            report.records.append({**about, "sentence": found[diagnosis].sentence, "rows": rows, "csv": csv_file})
    return report


def write_comparisons(found: list[Comparison], out: Path) -> Report:
    """Write figures, table and CSV of each comparison to its folder. Raises UserError where that cannot be."""
    report = Report()
    for comparison in found:
        _write_comparison(comparison, out, report)
        report.records += compare.records(comparison)
    return report


def _write_comparison(comparison: Comparison, out: Path, report: Report) -> dict[str, Any]:
    """The files of one comparison; what the page shows of it."""
    files = {"table.md": compare.markdown(comparison).encode(), "runs.csv": compare.runs_csv(comparison).encode()}
    plates = compare.plates(comparison)
    for plate in plates:
        files |= draw(plate)
    report.files += _write(files, out / COMPARED / comparison.over)
    report.sections.append(f"Over {comparison.over}\n\n{compare.terminal(comparison)}\n")
    return page.compared(comparison, plates)


def listed_files(files: list[Path], verbose: bool) -> str:
    """The files that were written, each in a line, or the first and how many more."""
    if verbose or len(files) < 2:
        return "\n".join(map(str, files))
    return f"{files[0]} and {plural(len(files) - 1, 'more file')}; verbose=true lists them"


def _said(finding: Finding, tables: int | None = None) -> str:
    """A finding for a terminal, with all tables or the first few."""
    shown = "".join(f"\n{wrapped(table.caption)}\n{table.terminal()}\n" for table in finding.tables[:tables])
    return f"{wrapped(finding.sentence)}\n{shown}"


def _write(files: dict[str, bytes], folder: Path) -> list[Path]:
    """Write files by name, in order; their paths. Without files there is no folder."""
    paths = [folder / name for name in sorted(files)]
    for path in paths:
        with writing_to("out"):
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(files[path.name])
    return paths

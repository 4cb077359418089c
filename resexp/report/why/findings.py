"""What the diagnoses of a group show, from the CSV beside its runs, without torch."""

from pathlib import Path

from resexp.analysis.study import Group
from resexp.diagnose import table
from resexp.errors import UserError
from resexp.report.why import construction, gradients, lesions, responses
from resexp.report.why.profiles import Finding

FIND = {
    "gradients": gradients.find,
    "responses": responses.find,
    "lesions": lesions.find,
    "construction": construction.find,
}


def findings(group: Group, runs: Path) -> tuple[dict[str, Finding], dict[str, bytes], list[str]]:
    """What each diagnosis shows, its CSV (only what still holds), and a line for each thing that could not be used."""
    shown: dict[str, Finding] = {}
    files: dict[str, bytes] = {}
    problems: list[str] = []
    tables = table.files(runs)
    for diagnosis, find in FIND.items():
        path = table.table_file(runs, group, diagnosis)
        try:
            measured, outdated = table.current(table.gather(tables, group, diagnosis), group)
        except UserError as error:
            problems.append(str(error))
            continue
        problems += [f"{path}: {line}; it is left out until resexp diagnose {diagnosis} is run" for line in outdated]
        finding = find(group, measured)
        if finding is not None:
            shown[diagnosis], files[f"{diagnosis}.csv"] = finding, table.text(measured).encode()
    return shown, files, problems

"""What the diagnoses of a group show, from the CSV beside its runs: figures and sentences, without torch."""

from collections.abc import Callable
from pathlib import Path

from resexp.analysis.study import Group
from resexp.diagnose import table
from resexp.diagnose.table import Measured
from resexp.errors import UserError
from resexp.report.why import gradients, lesions, responses
from resexp.report.why.profiles import Finding

FIND: dict[str, Callable[[Group, Measured], Finding | None]] = {
    "gradients": gradients.find,
    "responses": responses.find,
    "lesions": lesions.find,
}


def findings(group: Group, runs: Path) -> tuple[dict[str, Finding], dict[str, bytes], list[str]]:
    """What each diagnosis shows, its CSV (only what still holds), and a line for all that could not be used."""
    found: dict[str, Finding] = {}
    tables: dict[str, bytes] = {}
    problems: list[str] = []
    for diagnosis, find in FIND.items():
        path = table.table_file(runs, group, diagnosis)
        try:
            measured, outdated = table.current(table.gather(runs, group, diagnosis), group)
        except UserError as error:
            problems.append(str(error))
            continue
        problems += [f"{path}: {line}; it is left out until resexp diagnose {diagnosis} is run" for line in outdated]
        finding = find(group, measured)
        if finding is not None:
            found[diagnosis], tables[f"{diagnosis}.csv"] = finding, table.text(measured).encode()
    return found, tables, problems

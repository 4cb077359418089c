"""What the diagnoses of a group show, from the CSV beside its runs, without torch."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from resexp.analysis.claims import Claim
from resexp.analysis.study import Group
from resexp.diagnose import table
from resexp.diagnose.table import Measured
from resexp.errors import UserError
from resexp.formatting import few
from resexp.report.why import construction, gradients, lesions, responses
from resexp.report.why.profiles import Finding

DECAY = "weight_decay"
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
        try:
            measured, left_out = _usable(tables, group, diagnosis)
        except UserError as error:
            problems.append(str(error))
            continue
        if left_out:
            what = f"{diagnosis} of {group.data}/{group.recipe}: left out until resexp diagnose {diagnosis} is run"
            problems.append(f"{what}: {'; '.join(few(left_out))}")
        finding = find(group, measured)
        if finding is not None:
            shown[diagnosis], files[f"{diagnosis}.csv"] = finding, table.text(measured).encode()
    return shown, files, problems


def _usable(tables: list[Path], group: Group, diagnosis: str) -> tuple[Measured, list[str]]:
    """What still holds and can be compared, and a line for each thing that cannot. Raises UserError as reading does."""
    holding, outdated = table.current(table.gather(tables, group, diagnosis), group)
    measured, others = table.comparable(holding)
    return measured, outdated + others


def skipping(group: Group, groups: list[Group], runs: Path) -> list[Claim]:
    """What becomes of the claim on weight decay, in the group with the least of it, among those otherwise alike."""

    def others(one: Group) -> tuple[dict[str, Any], dict[str, Any]]:
        return one.data_settings, one.recipe_settings | {"name": "", DECAY: 0.0}

    alike = sorted((one for one in groups if others(one) == others(group)), key=lambda one: one.recipe_settings[DECAY])
    if len(alike) < 2 or alike[0] is not group:
        return []
    measured: dict[float, Measured] = {}
    tables = table.files(runs)
    for one in alike:
        with suppress(UserError):  # `findings` tells
            measured[one.recipe_settings[DECAY]], _ = _usable(tables, one, "lesions")
    claim = lesions.skipped(group, {decay: found for decay, found in measured.items() if found})
    return [claim] if claim else []

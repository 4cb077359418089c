"""What lies in a folder of results and where it came from: the generated part of its README."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from resexp.analysis.rerun import commands
from resexp.analysis.study import Group, NetworkRuns, StudyRun, load_study, title
from resexp.diagnose import journal
from resexp.diagnose.table import DIAGNOSES, table_file
from resexp.formatting import plural
from resexp.report.answers import answers
from resexp.report.captions import setting_words
from resexp.report.tables import claims_markdown
from resexp.storage.provenance import commit, hardware, versions

BEGIN = "<!-- Written by resexp collect, from the files themselves: what is changed here is lost. -->"
END = "<!-- Up to here by resexp collect. -->"
CHECKPOINTS = "checkpoints.txt"
"""Says where the checkpoints of an experiment are kept."""
HEADING = "# Results\n\nAll of this was computed by this program; beside each thing stands what made it.\n\n"

UNSAID = "nothing was said of them (`checkpoints=TEXT` of `resexp collect`); the commands above make them anew."

INTRODUCTION = """## Files

| file | what | made by |
|---|---|---|
| `summary.csv` | a row for each run below: errors (fractions), seconds, device | `resexp collect` |
| `NAME/DATA/RECIPE/NETWORK/seedK/` | a run: | `resexp train` |
| `.../history.csv` | its training curve, as measured | |
| `.../config.yaml` | all its settings | |
| `.../run.json` | final errors; device, versions, commit, date and seconds of each session; the curve's digest | |
| `NAME/diagnoses/DATA/RECIPE/*.csv`, `*.json` | measured inside networks; when, on what | `resexp diagnose` |
| `figures/DATA/RECIPE/figure1.*`, `figure6.*` | the figures, their captions on the page | {command} |
| `figures/DATA/RECIPE/table.md`, `final.csv`, `curves.csv` | networks, runs, every point of the curves | the same |
| `.../claims.md`, `contrasts.csv` | what became of each claim; every contrast with its seeds, intervals | the same |
| `.../gradients.*`, `responses.*`, `lesions.*` | measured inside the networks: figures and numbers | the same |
| `figures/index.html` | all of it on one page | the same |
"""
WEIGHTS = "| `weights/*.pt`, `weights/*.json` | trained weights, and their error once loaded back | `resexp export` |\n"


def write(results: Path, margin: float) -> str:
    """README.md with its generated part renewed; what stands around that part stays. `margin` is a fraction."""
    file = results / "README.md"
    text = file.read_text(encoding="utf-8") if file.exists() else HEADING
    before, begin, rest = text.partition(BEGIN)
    behind = rest.partition(END)[2] if begin else "\n"
    return f"{before.rstrip()}\n\n{BEGIN}\n\n{generated(results, margin)}\n{END}{behind}"


def generated(results: Path, margin: float) -> str:
    """The generated part: the claims, the kinds of files, then each experiment with its commands and runs."""
    drawn = f"`resexp report runs={results.name} out={results.name}/figures`"
    parts = [*claimed(results, margin), INTRODUCTION.format(command=drawn)]
    if (results / "weights").is_dir():
        parts.append(WEIGHTS)
    for folder in sorted(path for path in results.iterdir() if path.is_dir()):
        groups = load_study(folder).groups
        if groups:
            parts += experiment(folder, groups)
    return "".join(parts + weights(results / "weights"))


def claimed(results: Path, margin: float) -> list[str]:
    """What became of each claim in each group of runs, as on the report's page."""
    parts = ["## Claims\n"]
    for group in load_study(results).groups:
        said = answers(group, results, margin)
        parts.append(f"\n### {setting_words(group)}\n\n{said.sentence}\n\n{claims_markdown(said.claims)}")
        parts.append(f'\nFiles of the column "shown by": `figures/{group.data}/{group.recipe}/`.\n')
    return [*parts, "\n"]


def experiment(folder: Path, groups: list[Group]) -> list[str]:
    """One experiment: what it is, how to repeat it, and a line for each run."""
    parts = [f"\n## {folder.name}/\n"]
    for group in groups:
        parts.append(f"\n{setting_words(group)}.\n\n```bash\n")
        parts += [f"{command}\n" for command in commands(group)]
        parts.append("```\n\n| run | iterations | hardware | versions | commit | date (UTC) | seconds |\n")
        parts.append("|---|---:|---|---|---|---|---:|\n")
        for network in group.networks:
            parts += [run_line(network, run) for run in network.finished]
    kept = folder / CHECKPOINTS
    told = kept.read_text(encoding="utf-8").strip() if kept.exists() else UNSAID
    parts += [line for group in groups for line in diagnosed(folder, group)]
    return [*parts, f"\nCheckpoints, with which runs can be carried on: {told}\n"]


def diagnosed(folder: Path, group: Group) -> list[str]:
    """A table of what was measured inside the networks of a group; nothing where that was not done."""
    rows: list[str] = []
    for diagnosis in DIAGNOSES:
        table = table_file(folder, group, diagnosis)
        for session in journal.read(table):
            count, images = plural(int(session.get("networks", 0)), "network"), session.get("images")
            what = [f"`{table.relative_to(folder).as_posix()}`", f"{count} on {images}" if images else count]
            rows.append(_line([*what, *provenance([session]), f"{session.get('seconds', 0):,.0f}"]))
    if not rows:
        return []
    command = f"resexp diagnose group={group.data}/{group.recipe}"
    head = "| file | measured | hardware | versions | commit | date (UTC) | seconds |\n"
    return [f"\nMeasured inside the networks, with `{command}`:\n\n{head}|---|---|---|---|---|---|---:|\n", *rows]


def run_line(network: NetworkRuns, run: StudyRun) -> str:
    """The provenance of one run; where its sessions differ, all of them in order."""
    what = [f"{title(network.name)}, seed {run.seed}", f"{run.iterations:,}"]
    return _line([*what, *provenance(run.record.sessions), f"{run.record.seconds:,.0f}"])


def provenance(sessions: list[dict[str, Any]]) -> list[str]:
    """Hardware, versions, commit and date of sessions."""
    dates = sorted({str(session.get("started", ""))[:10] for session in sessions})
    return [
        _distinct(map(hardware, sessions)),
        _distinct(map(versions, sessions)),
        _distinct(map(commit, sessions)),
        dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}" if dates else "",
    ]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', ' ') for cell in cells)} |\n"


def _distinct(words: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(words))


def weights(folder: Path) -> list[str]:
    """The table of trained weights."""
    notes = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if not notes:
        return []
    parts = [
        "\n## weights/\n\n`resexp evaluate weights=FILE` measures them again. SHA-256 of each file in its .json.\n\n",
        "| file | bytes | test error, loaded back | of the run |\n|---|---:|---:|---:|\n",
    ]
    for note in notes:
        errors = " | ".join(f"{100 * note[key]:.2f}%" for key in ("test_error", "run_test_error"))
        parts.append(f"| `{note['file']}` | {note['bytes']:,} | {errors} |\n")
    return parts

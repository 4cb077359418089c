"""The numbers as text: one line a network for people, one row a run for programs."""

import csv
import io
import statistics
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from resexp.analysis import paper
from resexp.analysis.claims import Claim
from resexp.analysis.study import METRICS, Group, NetworkRuns
from resexp.analysis.verdict import Verdict
from resexp.analysis.wording import mean_and_spread
from resexp.config.settings import ModelConfig
from resexp.errors import UserError
from resexp.formatting import ABSENT, aligned
from resexp.model.cost import CLASSES, parameters
from resexp.report.captions import comparison_words, setting_words

FINAL_COLUMNS = ("network", "seed", *METRICS, "parameters", "seconds", "device")
CONTRAST_COLUMNS = (
    *("role", "contrast", "metric", "seeds", "difference", "low", "high", "method", "welch_low", "welch_high"),
    *("correlation", "word", "more"),
)
CURVE_COLUMNS = ("network", "seed", "iteration", "learning_rate", "train_error", "test_error", "clean_train_error")


def count_parameters(network: NetworkRuns) -> int | None:
    """Trainable parameters of a network for its data's classes; None where its settings do not say."""
    try:
        model = ModelConfig(**network.model)
    except (TypeError, UserError):
        return None
    classes = network.runs[0].record.data.get("classes")
    more = classes - CLASSES if isinstance(classes, int) else 0
    return parameters(model) + (64 * model.width + 1) * more


def minutes(network: NetworkRuns) -> str:
    """Minutes of training, mean over seeds."""
    seconds = [run.record.seconds for run in network.finished]
    if not seconds or not any(seconds):
        return ABSENT
    mean = statistics.fmean(seconds) / 60
    return f"{mean:,.{0 if mean >= 100 else 1 if mean >= 1 else 2}f}"


@dataclass(frozen=True)
class Column:
    """One column of the table; `wide` columns are left out where there is little room."""

    heading: str
    cells: list[str]
    text: bool = False
    wide: bool = False


def columns(group: Group) -> list[Column]:
    """The table of a group, with the paper's test error only where data and recipe are the paper's."""
    networks = group.networks
    counts = [count_parameters(network) for network in networks]
    devices = ["; ".join(dict.fromkeys(run.device for run in network.finished)) or ABSENT for network in networks]
    table = [
        Column("network", [network.title for network in networks], text=True),
        Column("parameters", [f"{count:,}" if count else ABSENT for count in counts], wide=True),
        Column("seeds", [str(len(network.finished)) for network in networks]),
        Column("test error, %", [mean_and_spread(network, "test_error") for network in networks]),
        Column("running training error, %", [mean_and_spread(network, "running_error") for network in networks]),
        Column("clean training error, %", [mean_and_spread(network, "clean_train_error") for network in networks]),
        Column("minutes", [minutes(network) for network in networks], wide=True),
        Column("device", devices, text=True, wide=True),
    ]
    if group.is_papers:
        published = [paper.TEST_ERROR.get(paper.network_name(network.model) or "") for network in networks]
        cells = [str(value) if value else ABSENT for value in published]
        table.insert(3, Column("paper's test error, %", cells))
    return table


def notes(group: Group) -> str:
    """What stands below the table."""
    counts = {len(network.finished) for network in group.networks if network.finished}
    own = " Each mean is over that network's own seeds; the verdict compares shared ones." if len(counts) > 1 else ""
    return (
        "Ours: the last iteration's test error, mean ± sample standard deviation over seeds; running training error: "
        "mean over the last sixteenth of iterations, augmented mini-batches in training mode; clean: one pass over the "
        f"training images as they are, after the last iteration.{own} {comparison_words(group)}"
    )


def markdown(group: Group) -> str:
    """table.md."""
    table = columns(group)
    escaped = [[cell.replace("|", "\\|") for cell in (column.heading, *column.cells)] for column in table]
    rows = [f"| {' | '.join(cells)} |" for cells in zip(*escaped, strict=True)]
    rule = f"| {' | '.join('---' if column.text else '---:' for column in table)} |"
    return "\n".join([f"### {setting_words(group)}", "", rows[0], rule, *rows[1:], "", notes(group), ""])


CLAIM_HEADING = ["claim", "outcome", "here", "published", "shown by", "command"]


def claim_rows(found: list[Claim]) -> list[list[str]]:
    """Claims as lines of a table."""
    return [[one.text, one.outcome, one.ours, one.published, one.evidence, one.command] for one in found]


def claims_markdown(found: list[Claim]) -> str:
    """claims.md."""
    lines = [CLAIM_HEADING, ["---"] * len(CLAIM_HEADING), *claim_rows(found)]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def short(group: Group) -> str:
    """The table for a terminal."""
    kept = [column for column in columns(group) if not column.wide]
    lines = [list(cells) for cells in zip(*([column.heading, *column.cells] for column in kept), strict=True)]
    return aligned(lines, {number for number, column in enumerate(kept) if column.text})


def csv_text(heading: tuple[str, ...], rows: list[list[Any]]) -> str:
    """A table as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heading)
    for row in rows:
        writer.writerow([f"{value:.8g}" if isinstance(value, float) else value for value in row])
    return out.getvalue()


def final_csv(group: Group) -> str:
    """final.csv: errors as fractions, a row for each finished run, then a network's mean and sample deviation."""
    rows: list[list[Any]] = []
    for network in group.networks:
        count = count_parameters(network)
        for run in network.finished:
            found = [getattr(run.final, metric) for metric in METRICS]
            rows.append([network.name, run.seed, *found, count, run.record.seconds, run.device])
        if network.finished:
            rows.append([network.name, "mean", *map(network.mean, METRICS), count, None, None])
        if len(network.finished) > 1:
            rows.append([network.name, "std", *map(network.spread, METRICS), count, None, None])
    return csv_text(FINAL_COLUMNS, rows)


def contrasts_csv(verdict: Verdict) -> str:
    """contrasts.csv: every contrast with its seeds, intervals and word; differences as fractions."""
    roles = {"declared": verdict.contrasts, "secondary": verdict.secondary, "exploratory": verdict.exploratory}
    rows: list[list[Any]] = []
    for role, contrasts in roles.items():
        for one in contrasts:
            found = [one.difference if one.compared else None, *(one.interval or (None, None)), one.method]
            beside = [*(one.welch or (None, None)), one.correlation]
            seeds = "; ".join(" ".join(map(str, used)) for used in one.used)
            rows.append([role, one.name, one.metric, seeds, *found, *beside, one.word, one.more])
    return csv_text(CONTRAST_COLUMNS, rows)


def curves_csv(group: Group) -> str:
    """curves.csv: every row of every finished run, errors as fractions."""
    rows = [
        [network.name, run.seed, *(getattr(row, column) for column in CURVE_COLUMNS[2:])]
        for network in group.networks
        for run in network.finished
        for row in run.rows
    ]
    return csv_text(CURVE_COLUMNS, rows)


def without_paths(text: str, runs: PurePath) -> str:
    """A message for a page: paths below the folder of runs are relative to it, of others only the last part is left."""
    for prefix in {f"{runs}/", f"{runs.as_posix()}/"}:
        text = text.replace(prefix, "")
    words = [_last_part(word) for word in text.split(" ")]
    return " ".join(words)


def _last_part(word: str) -> str:
    """ "('/home/a/b.csv'" -> "('.../b.csv'"."""
    start = word.find("/")
    if start < 0 or (start > 0 and word[start - 1].isalnum()) or word.count("/", start) < 2:
        return word
    return f"{word[:start]}.../{word.rstrip('/').rsplit('/', 1)[1]}"

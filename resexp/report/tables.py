"""The numbers as text: one line a network for people, one row a run for programs."""

import math
import statistics
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from resexp.analysis import paper
from resexp.analysis.claims import LEARNED_ERROR, Claim
from resexp.analysis.study import METRICS, Group, NetworkRuns
from resexp.analysis.verdict import Contrast, Verdict
from resexp.analysis.wording import interval_text, mean_and_spread, points
from resexp.config.settings import ModelConfig
from resexp.formatting import ABSENT, csv_text, spans
from resexp.model.cost import CLASSES, parameters
from resexp.report.captions import comparison_words, setting_words
from resexp.report.spec import Table

ERRORS = ("test_error", "running_error", "clean_train_error")
FINAL_COLUMNS = ("network", "seed", *METRICS, "parameters", "seconds", "device")
CONTRAST_COLUMNS = (
    *("role", "contrast", "metric", "seeds", "difference", "low", "high", "method", "welch_low", "welch_high"),
    *("word", "more"),
)
CURVE_COLUMNS = ("network", "seed", "iteration", "learning_rate", "train_error", "test_error", "clean_train_error")


def count_parameters(network: NetworkRuns) -> int:
    """Trainable parameters of a network for its data's classes."""
    classes = network.runs[0].record.data.get("classes")
    return parameters(ModelConfig(**network.model), classes if isinstance(classes, int) else CLASSES)


def minutes(network: NetworkRuns) -> str:
    """Minutes of training, mean over seeds."""
    seconds = [run.record.seconds for run in network.finished]
    if not seconds or not any(seconds):
        return ABSENT
    mean = statistics.fmean(seconds) / 60
    return f"{mean:,.{0 if mean >= 100 else 1 if mean >= 1 else 2}f}"


def _learned(network: NetworkRuns) -> str:
    """The mean over seeds of the iterations until it had learned; of those that have, where others never did."""
    found = [*network.iterations_to(LEARNED_ERROR).values()]
    reached = [iterations for iterations in found if math.isfinite(iterations)]
    if not reached:
        return "never" if found else ABSENT
    some = "" if len(reached) == len(found) else f" ({len(reached)} of {len(found)})"
    return f"{statistics.fmean(reached):,.0f}{some}"


def networks_table(group: Group) -> Table:
    """A row for each network, with the paper's errors only where data and recipe are the paper's."""
    papers = group.is_papers
    heading = ["network", "seeds", *["paper's test error, %"] * papers, "test error, %"]
    heading += [*["paper's training error, %"] * papers, "running training error, %", "clean training error, %"]
    heading += [f"iterations to {LEARNED_ERROR:.0%}", "parameters", "minutes", "device"]
    rows: list[list[str]] = []
    for network in group.networks:
        name = paper.network_name(network.model) or ""
        tested, trained = (str(published.get(name, ABSENT)) for published in (paper.TEST_ERROR, paper.TRAIN_ERROR))
        test, running, clean = (mean_and_spread(network, metric) for metric in ERRORS)
        row = [network.title, str(len(network.finished)), *[tested] * papers, test, *[trained] * papers, running, clean]
        row += [_learned(network), f"{count_parameters(network):,}", minutes(network)]
        rows.append([*row, "; ".join(dict.fromkeys(run.device for run in network.finished)) or ABSENT])
    return Table("Each network at the end of training", heading, rows, {0, len(heading) - 1})


def runs_table(group: Group) -> Table:
    """A row for each finished run of the first seeds of each network."""
    rows = [
        [network.title, str(run.seed), *(ABSENT if error is None else f"{100 * error:.2f}" for error in errors)]
        for network in group.networks
        for run in network.finished[:EACH]
        for errors in [[getattr(run.final, metric) for metric in ERRORS]]
    ]
    few_of = f" (the first {EACH} of each network)" if any(len(one.finished) > EACH for one in group.networks) else ""
    heading = ["network", "seed", "test error, %", "running training error, %", "clean training error, %"]
    return Table(f"Each seed at the end of training{few_of}", heading, rows, {0})


def short(group: Group) -> str:
    """The same for a terminal, which has no space for the last four columns."""
    table = networks_table(group)
    return Table("", table.heading[:-4], [row[:-4] for row in table.rows]).terminal()


EACH = 20
"""Seeds of a network that the page lists; final.csv has all."""
WORDS = {
    "±": "sample standard deviation over seeds, behind the mean",
    "test error": "at the last iteration",
    "running training error": "mean over the last sixteenth of iterations, on augmented mini-batches in training mode",
    "clean training error": "one pass over the training images without augmentation, after the last iteration",
    f"iterations to {LEARNED_ERROR:.0%}": "the end of the first row with a lower running training error, mean of the "
    "seeds that get there",
}
"""What the columns of the table of networks are."""


def notes(group: Group) -> str:
    """What stands below the table of networks where it stands alone."""
    meanings = "; ".join(f"{word}: {meaning}" for word, meaning in WORDS.items())
    return f"{meanings[0].upper()}{meanings[1:]}. {own_notes(group)}"


def own_notes(group: Group) -> str:
    """What of it only this table says."""
    counts = {len(network.finished) for network in group.networks if network.finished}
    own = "Each mean is over that network's own seeds; the verdict compares shared ones. " if len(counts) > 1 else ""
    return own + comparison_words(group)


def markdown(group: Group) -> str:
    """table.md."""
    return f"### {setting_words(group)}\n\n{networks_table(group).markdown()}\n{notes(group)}\n"


def claims_table(claims: list[Claim]) -> Table:
    """A row for each claim."""
    heading = ["claim", "kind", "outcome", "here", "published", "shown by", "command"]
    rows = [[one.text, one.kind, one.outcome, one.ours, one.published, one.evidence, one.command] for one in claims]
    return Table("Claims and what became of them", heading, rows, set(range(len(heading))))


def contrasts_table(caption: str, contrasts: Iterable[Contrast]) -> Table:
    """A row for each contrast, differences in points."""
    measures = {"running_error": "", "clean_train_error": ", clean training error", "test_error": ", test error"}
    rows = [
        [
            one.name + measures[one.metric],
            f"{one.word}; {one.more}" if one.more else one.word,
            points(one) if one.compared else ABSENT,
            interval_text(one.interval) or ABSENT,
            interval_text(one.welch) or ABSENT,
            "; ".join(", ".join(spans(seeds)) for seeds in one.used) or ABSENT,
        ]
        for one in contrasts
    ]
    heading = ["contrast", "degradation", "difference, points", "95% interval", "Welch's interval", "seeds"]
    return Table(caption, heading, rows, {0, 1, 5})


def final_csv(group: Group) -> str:
    """final.csv: errors as fractions, a row for each finished run, then a network's mean and sample deviation."""
    rows: list[list[Any]] = []
    for network in group.networks:
        count = count_parameters(network)
        for run in network.finished:
            errors = [getattr(run.final, metric) for metric in METRICS]
            rows.append([network.name, run.seed, *errors, count, run.record.seconds, run.device])
        if network.finished:
            rows.append([network.name, "mean", *map(network.mean, METRICS), count, None, None])
        if len(network.finished) > 1:
            rows.append([network.name, "std", *map(network.spread, METRICS), count, None, None])
    return csv_text(FINAL_COLUMNS, rows)


def networks_records(group: Group) -> list[dict[str, Any]]:
    """`networks_table` for programs: fractions, means over seeds and their sample deviations."""
    return [
        {
            "network": network.name,
            "seeds": [run.seed for run in network.finished],
            "parameters": count_parameters(network),
            **{metric: network.mean(metric) for metric in METRICS},
            **{f"{metric}_std": network.spread(metric) for metric in METRICS},
        }
        for network in group.networks
    ]


def contrasts_csv(verdict: Verdict) -> str:
    """contrasts.csv: every contrast with its seeds, intervals and word; differences as fractions."""
    return csv_text(CONTRAST_COLUMNS, [list(one.values()) for one in contrasts_records(verdict)])


def contrasts_records(verdict: Verdict) -> list[dict[str, Any]]:
    """Its rows by `CONTRAST_COLUMNS`."""
    roles = {"declared": verdict.contrasts, "secondary": verdict.secondary, "exploratory": verdict.exploratory}
    rows: list[list[Any]] = []
    for role, contrasts in roles.items():
        for one in contrasts:
            seeds = "; ".join(" ".join(map(str, used)) for used in one.used)
            difference = one.difference if one.compared else None
            intervals = *(one.interval or (None, None)), one.method, *(one.welch or (None, None))
            rows.append([role, one.name, one.metric, seeds, difference, *intervals, one.word, one.more])
    return [dict(zip(CONTRAST_COLUMNS, row, strict=True)) for row in rows]


def curves_csv(group: Group) -> str:
    """curves.csv: every row of every finished run, errors as fractions; a thousand runs have nearly a million."""
    lines = [",".join(CURVE_COLUMNS)]
    for network in group.networks:
        for run in network.finished:
            for row in run.rows:
                measured = ("" if one is None else f"{one:.8g}" for one in (row.test_error, row.clean_train_error))
                rest = "," if row.test_error is row.clean_train_error is None else ",".join(measured)
                start = f"{network.name},{run.seed},{row.iteration}"
                lines.append(f"{start},{row.learning_rate:.8g},{row.train_error:.8g},{rest}")
    return "\n".join([*lines, ""])


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
    last = word[start:].rstrip("/").rpartition("/")[2]
    return f"{word[:start]}.../{last}" if last else word

"""The parts of a group's page, each a function from what is known to HTML. A new part is a new line in `SECTIONS`."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from resexp.analysis.study import Group, StudyRun
from resexp.analysis.verdict import Contrast
from resexp.analysis.wording import interval_text, points, range_text
from resexp.formatting import ABSENT, listed, plural
from resexp.report import captions, tables
from resexp.report.answers import Answers
from resexp.report.spec import Plate
from resexp.report.style import VARIABLES
from resexp.storage.provenance import commit, hardware, versions


@dataclass(frozen=True)
class GroupPage:
    """All that the sections of a group may show. `panels` are the SVG texts of each plate."""

    group: Group
    answers: Answers
    margin: float
    plates: dict[str, Plate]
    panels: dict[str, list[str]]
    commands: list[str]
    """Those that make the finished runs once more."""
    runs: Path

    @property
    def anchor(self) -> str:
        """Its name within the page."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.group.data} {self.group.recipe}".lower())


WRAPPED = 28
"""Characters beyond which the text of a cell is set in several lines."""


def table(heading: list[str], rows: list[list[str]], text: set[int], caption: str) -> str:
    """A table that scrolls by itself where the page is narrow; the columns in `text` stand left."""

    def kind(number: int, cell: str = "") -> str:
        names = [*(["text"] if number in text else []), *(["long"] if len(cell) > WRAPPED else [])]
        return f' class="{" ".join(names)}"' if names else ""

    head = "".join(f'<th scope="col"{kind(number)}>{escape(cell)}</th>' for number, cell in enumerate(heading))
    body = "".join(
        f'<tr><th scope="row"{kind(0, first)}>{escape(first)}</th>'
        + "".join(f"<td{kind(number, cell)}>{escape(cell)}</td>" for number, cell in enumerate(rest, start=1))
        + "</tr>\n"
        for first, *rest in rows
    )
    label = escape(caption)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table><caption>{label}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n"
    )


def asked(page: GroupPage) -> str:
    """The question, and what was run to answer it."""
    group = page.group
    names = listed([network.title for network in group.networks])
    seeds = sorted({run.seed for network in group.networks for run in network.runs})
    return (
        "<p>Does a plain network get worse on its own training set when it is made deeper, and a residual network of "
        "the same layers not? Networks of one depth and seed start from the same weights, and all networks of a seed "
        "see the same images in the same order.</p>\n"
        f"<p>Networks: {escape(names)}. {plural(len(seeds), 'seed')}: {', '.join(map(str, seeds))}.</p>\n"
    )


def claimed(page: GroupPage) -> str:
    """What became of each claim of the paper and of its retellings."""
    rows = [[one.text, one.outcome, one.ours, one.published, one.evidence] for one in page.answers.claims]
    commands = dict.fromkeys(one.command for one in page.answers.claims)
    note = (
        "Undecided: a single seed; or an interval, seeds or networks that say neither. "
        "Not tested: a command below would."
    )
    return (
        table(
            ["claim", "outcome", "here", "published", "shown by"],
            rows,
            set(range(5)),
            "Claims, and what became of them",
        )
        + f'<p class="small">{escape(note)}</p>\n<details><summary>Commands</summary>\n<ul class="plain">\n'
        + "".join(f"<li><code>{escape(command)}</code></li>\n" for command in commands)
        + "</ul></details>\n"
    )


DECLARED = "Declared before any run: running training error, deep minus shallow"
MEASURES = {"running_error": "", "clean_train_error": ", clean training error", "test_error": ", test error"}


def contrast_rows(contrasts: Iterable[Contrast]) -> list[list[str]]:
    """Contrasts as lines of a table."""

    def row(one: Contrast) -> list[str]:
        together = f"{one.correlation:.2f}" if one.correlation is not None else ABSENT
        return [
            one.name + MEASURES[one.metric],
            f"{one.word}; {one.more}" if one.more else one.word,
            points(one) if one.compared else ABSENT,
            interval_text(one) or ABSENT,
            range_text(one.welch) or ABSENT,
            together,
            "; ".join(", ".join(map(str, seeds)) for seeds in one.used) or ABSENT,
        ]

    return [row(one) for one in contrasts]


def answer(page: GroupPage) -> str:
    """The verdict in words, its three contrasts, and behind them those that were not declared beforehand."""
    heading = ["contrast", "degradation", "difference, points", "95% interval", "by Welch", "correlation", "seeds"]
    text, verdict = {0, 1, 6}, page.answers.verdict
    more = ""
    for contrasts, name in (
        (verdict.secondary, "Secondary: the same contrasts in the other errors"),
        (verdict.exploratory, "Exploratory: other depths; ResNet-110 has a warm-up that the others have not"),
    ):
        if contrasts:
            rows = table(heading, contrast_rows(contrasts), text, name)
            more += f"<details><summary>{escape(name)}</summary>\n{rows}</details>\n"
    return (
        f'<p class="verdict">{escape(page.answers.sentence)}</p>\n'
        + table(heading, contrast_rows(verdict.contrasts), text, DECLARED)
        + '<p class="small">Observed: the interval lies above 0. Not observed: it does not, and lies below '
        f"+{100 * page.margin:g} points. Undecided: neither; how many seeds would decide is told at even odds, for a "
        "mean and spread as these are. The interval is the two-sided paired t interval over the "
        "seeds that all networks of a contrast share, and Welch's where fewer than two are shared (then "
        "the seeds of each network are listed, deep first); the correlation is "
        "that between the two sides of a contrast over seeds, which is what pairing gains.</p>\n" + more
    )


def inline_svg(text: str, prefix: str, alt: str) -> str:
    """An SVG file as part of a page: its ids made unique, its colours those of the page."""
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'(href="|url\()#', rf"\1#{prefix}-", body)
    body = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", body).replace("xlink:href", "href")
    for color, variable in VARIABLES.items():
        body = body.replace(color, f"var({variable})")
    return body.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)


def drawing(name: str) -> Callable[[GroupPage], str]:
    """The section of one plate."""

    def section(page: GroupPage) -> str:
        plate = page.plates.get(name)
        if plate is None:
            return '<p class="small">Not drawn: none of its networks has a finished run.</p>\n'
        alts = [f"{panel.title}. {panel.alt}" for panel in plate.panels]
        drawn = "".join(
            inline_svg(svg, f"{page.anchor}-{name}-{number}", alt)
            for number, (svg, alt) in enumerate(zip(page.panels[name], alts, strict=True))
        )
        return (
            f'<figure><div class="panels">\n{drawn}</div>\n<figcaption>{escape(plate.caption)}</figcaption></figure>\n'
        )

    return section


def why(diagnosis: str) -> Callable[[GroupPage], str]:
    """The section of one diagnosis: what it says and its figure, or the command that measures it."""

    def section(page: GroupPage) -> str:
        finding = page.answers.findings.get(diagnosis)
        if finding is None:
            command = f"resexp diagnose {diagnosis} group={page.group.data}/{page.group.recipe}"
            return f'<p class="small">Not measured yet: <code>{escape(command)}</code></p>\n'
        return f"<p>{escape(finding.sentence)}</p>\n{drawing(diagnosis)(page)}"

    return section


def numbers(page: GroupPage) -> str:
    """The table of networks."""
    columns = tables.columns(page.group)
    rows = [list(cells) for cells in zip(*(column.cells for column in columns), strict=True)]
    text = {number for number, column in enumerate(columns) if column.text}
    heading = [column.heading for column in columns]
    caption = "Each network at the end of training"
    return table(heading, rows, text, caption) + f'<p class="small">{escape(tables.notes(page.group))}</p>\n'


def conditions(page: GroupPage) -> str:
    """Hardware, versions, commit and time, from the sessions that the runs recorded."""
    found: dict[tuple[str, ...], list[float]] = {}
    for network in page.group.networks:
        for run in network.runs:
            for session in run.record.sessions:
                what = hardware(session), versions(session), commit(session)
                found.setdefault(what, []).append(float(session.get("seconds", 0.0)))
    rows = [[*key, str(len(seconds)), f"{sum(seconds):,.0f}"] for key, seconds in sorted(found.items())]
    heading = ["hardware", "versions", "commit", "sessions", "seconds"]
    done = table(heading, rows, {0, 1, 2}, "What the runs were executed on") if rows else ""
    lines = "".join(f"<li><code>{escape(command)}</code></li>\n" for command in page.commands)
    again = f'<p class="small">The finished runs once more:</p>\n<ul class="plain">\n{lines}</ul>\n' if lines else ""
    settings = {"data": page.group.data_settings, "recipe": page.group.recipe_settings} | _images(page.group)
    shown = [
        [f"{part}.{key}", tables.without_paths(str(value), page.runs)]
        for part, values in settings.items()
        for key, value in values.items()
    ]
    return (
        f"{done}{again}<details><summary>Settings of data and recipe</summary>\n"
        + table(["setting", "value"], shown, {0, 1}, "Settings that decide the result")
        + "</details>\n"
    )


def _images(group: Group) -> dict[str, dict[str, Any]]:
    runs = [run for network in group.networks for run in network.runs if run.record.data]
    keys = ("train_images", "test_images", "classes", "digest")
    return {"images": {key: runs[0].record.data[key] for key in keys if key in runs[0].record.data}} if runs else {}


def unfinished(page: GroupPage) -> str:
    """The runs that do not count, and why."""

    def row(run: StudyRun) -> list[str]:
        why = tables.without_paths(run.record.error or "", page.runs)
        return [run.path, run.state, f"{run.at:,} of {run.iterations:,}", why]

    rows = [row(run) for _, run in page.group.not_counted]
    if not rows:
        return "<p>Every run that could be read is finished.</p>\n"
    heading = ["run", "state", "iteration", "error"]
    return table(heading, rows, {0, 1, 3}, "Runs that are not counted")


SECTIONS: tuple[tuple[str, Callable[[GroupPage], str]], ...] = (
    ("What was asked", asked),
    ("The claims", claimed),
    ("What was observed", answer),
    ("Depth in plain networks", drawing("figure1")),
    ("Plain against residual", drawing("figure6")),
    ("Numbers", numbers),
    ("Why: gradients", why("gradients")),
    ("Why: responses", why("responses")),
    ("Why: lesions", why("lesions")),
    ("How it was run", conditions),
    ("Unfinished and failed runs", unfinished),
)


def setting(page: GroupPage) -> str:
    """Data set, recipe and seeds in one line."""
    runs = [network.finished for network in page.group.networks if network.finished]
    seeds = f"; {captions.seed_words(runs).partition(':')[0]}" if runs else ""
    return captions.setting_words(page.group) + seeds

"""All groups as one HTML page that needs nothing else: no file, no network. page.html is its template."""

import itertools
import re
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from resexp import __version__
from resexp.analysis.compare import Comparison
from resexp.analysis.rerun import commands
from resexp.analysis.study import Group
from resexp.formatting import ABSENT
from resexp.report import compare, tables
from resexp.report.answers import Answers
from resexp.report.captions import seed_words, setting_words
from resexp.report.draw import draw_panels
from resexp.report.spec import Plate, Table
from resexp.report.why.findings import FIND
from resexp.storage.provenance import commit, hardware, versions

WARM_UPS = {
    "auto": "ResNet-110 has a warm-up, the others have none",
    "always": "all with a warm-up",
    "never": "none with a warm-up",
}
"""What recipe.warmup means, in words."""
DRAWN = ("width", "linear")
"""Settings on which initial weights depend besides depth and seed."""
WRAPPED = 20
"""Characters beyond which the text of a cell is set in several lines."""


def render(groups: list[dict[str, Any]], comparisons: list[dict[str, Any]], problems: list[str], runs: Path) -> str:
    """index.html, from what `values` gives for each group and `compared` for each comparison."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    numbers, said = itertools.count(1), set[str]()

    def inline(svg: str, words: str) -> str:
        """With words for those who do not see it, and ids that are unique in the page."""
        own = re.sub(r'(?<= id=")|(?<=href="#)|(?<=url\(#)', f"s{next(numbers)}-", svg)
        return own.replace("<svg", f'<svg role="img" aria-label="{escape(words)}"', 1)

    def unsaid(plate: Plate) -> list[str]:
        """What is not said at an earlier figure."""
        new = [words for words in plate.key if words and words not in said]
        said.update(new)
        return new

    environment.filters.update(slug=_slug, why=lambda words: f"Why: {words}")
    unusable = [tables.without_paths(problem, runs) for problem in problems]
    return environment.get_template("page.html").render(
        groups=groups,
        comparisons=comparisons,
        unusable=unusable,
        version=__version__,
        wrapped=WRAPPED,
        draw_panels=draw_panels,
        inline=inline,
        unsaid=unsaid,
        absent=ABSENT,
        words=tables.WORDS,
    )


def _slug(words: str) -> str:
    """What stands for words in an address."""
    return re.sub(r"[^a-z0-9]+", "-", words.lower())


def values(
    group: Group, answers: Answers, margin: float, plates: dict[str, Plate], runs: Path, folded: bool
) -> dict[str, Any]:
    """What the page shows of a group: plain values, tables and figures; less of a `folded` one, which is compared."""
    name = f"{group.data}/{group.recipe}"
    claims, networks = tables.claims_table, tables.networks_table(group)
    untested = [claim for claim in answers.claims if claim not in answers.tested]
    finished = [[run.seed for run in network.finished] for network in group.networks if network.finished]
    return {
        "name": name,
        "folded": folded,
        "anchor": _slug(name),
        "setting": "; ".join([setting_words(group), *([seed_words(finished)] if finished else [])]),
        "answers": answers,
        "plates": plates,
        "networks": networks.only(*networks.heading[:-1]),
        "notes": tables.own_notes(group),
        "each_run": tables.runs_table(group),
        "declared": tables.contrasts_table(
            "The three contrasts of the study: running training error", answers.verdict.contrasts
        ),
        "other_contrasts": [
            tables.contrasts_table(caption, contrasts)
            for caption, contrasts in (
                ("Secondary: the same contrasts in the other errors", answers.verdict.secondary),
                (
                    f"Exploratory: other depths ({WARM_UPS[group.recipe_settings['warmup']]})",
                    answers.verdict.exploratory,
                ),
            )
            if contrasts
        ],
        "margin": f"{100 * margin:g}",
        "claims": claims(answers.tested).only("claim", "kind", "outcome", "here", "published", "shown by"),
        "untested": claims(untested).only("claim", "command", "published"),
        "claim_commands": list(dict.fromkeys(claim.command for claim in answers.tested)),
        "diagnoses": list(FIND),
        "sessions": _sessions(group),
        "commands": commands(group),
        "one_start": len({tuple(network.model.get(key) for key in DRAWN) for network in group.networks}) == 1
        and not any(network.model.get("start") for network in group.networks),
        "settings": _settings(group, runs),
        "unfinished": _unfinished(group, runs),
    }


def compared(comparison: Comparison, plates: list[Plate]) -> dict[str, Any]:
    """What it shows of a comparison."""
    return {
        "name": f"Over {comparison.over}",
        "anchor": _slug(f"over {comparison.over}"),
        "setting": plates[0].setting,
        "table": compare.compared_table(comparison),
        "notes": compare.notes(comparison),
        "plates": plates,
    }


def _sessions(group: Group) -> Table:
    """Hardware, versions, commit and time, from the sessions that the runs recorded."""
    seconds: dict[tuple[str, ...], list[float]] = {}
    for network in group.networks:
        for run in network.runs:
            for session in run.record.sessions:
                key = hardware(session), versions(session), commit(session)
                seconds.setdefault(key, []).append(float(session.get("seconds", 0.0)))
    rows = [[*key, str(len(each)), f"{sum(each):,.0f}"] for key, each in sorted(seconds.items())]
    heading = ["hardware", "versions", "commit", "sessions", "seconds"]
    return Table("What the runs were executed on", heading, rows, {0, 1, 2})


def _settings(group: Group, runs: Path) -> Table:
    """Settings of data and recipe, and the images that were found."""
    keys = ("train_images", "test_images", "classes", "digest")
    images = {key: group.images[key] for key in keys if key in group.images}
    parts = {"data": group.data_settings, "recipe": group.recipe_settings, "images": images}
    rows = [
        [f"{part}.{key}", tables.without_paths(str(value), runs)]
        for part, settings in parts.items()
        for key, value in settings.items()
    ]
    return Table("Settings that decide the result", ["setting", "value"], rows, {0, 1})


def _unfinished(group: Group, runs: Path) -> Table:
    """The runs that do not count, and why."""
    rows = [
        [run.path, run.state, f"{run.at:,} of {run.iterations:,}", tables.without_paths(run.record.error or "", runs)]
        for _, run in group.not_counted
    ]
    return Table("Runs that are not counted", ["run", "state", "iteration", "error"], rows, {0, 1, 3})

"""All groups as one HTML page that needs nothing else: no file, no network."""

from html import escape
from pathlib import Path

from resexp import __version__
from resexp.report.sections import SECTIONS, GroupPage, setting
from resexp.report.style import GRID, INK, MUTED, OTHERS, PAPER, STYLES, VARIABLES
from resexp.report.tables import without_paths

TITLE = "Does depth hurt? A degradation study"
DARK = {INK: "#ececef", MUTED: "#a6a6ad", GRID: "#36363b", PAPER: "#151518"}


def _variables() -> str:
    """The page's colours, light and dark; print is always light."""
    light = {variable: color for color, variable in VARIABLES.items()}
    dark = {VARIABLES[color]: value for color, value in DARK.items()}
    dark |= {VARIABLES[style.color]: style.dark for style in (*STYLES.values(), *OTHERS)}
    light |= {"--link": "#1f5fa8", "--accent": STYLES["plain32"].color}
    dark |= {"--link": "#8ab8f0", "--accent": STYLES["plain44"].dark}

    def block(values: dict[str, str]) -> str:
        return ":root{" + "".join(f"{name}:{value};" for name, value in values.items()) + "}"

    return (
        f":root{{color-scheme:light dark}}{block(light)}\n"
        f"@media screen and (prefers-color-scheme: dark){{{block(dark)}}}\n"
        "@media print{:root{color-scheme:light}}\n"
    )


def _article(page: GroupPage) -> str:
    sections = "".join(
        f'<section aria-labelledby="{page.anchor}-{number}"><h3 id="{page.anchor}-{number}">{escape(heading)}</h3>\n'
        f"{section(page)}</section>\n"
        for number, (heading, section) in enumerate(SECTIONS)
    )
    name = escape(f"{page.group.data} / {page.group.recipe}")
    about = escape(setting(page))
    return f'<article id="{page.anchor}">\n<h2>{name}</h2>\n<p class="setting">{about}</p>\n{sections}</article>\n'


def _contents(pages: list[GroupPage]) -> str:
    """Links to the groups, where there is more than one."""
    if len(pages) < 2:
        return ""
    items = "".join(
        f'<li><a href="#{page.anchor}">{escape(page.group.data)} / {escape(page.group.recipe)}</a><br>'
        f"{escape(page.answers.sentence)}</li>\n"
        for page in pages
    )
    return f'<nav aria-label="Studies"><ul>\n{items}</ul></nav>\n'


def _unusable(problems: list[str], runs: Path) -> str:
    if not problems:
        return ""
    items = "".join(f"<li><code>{escape(without_paths(problem, runs))}</code></li>\n" for problem in problems)
    return f'<article id="unusable">\n<h2>What could not be used</h2>\n<ul class="plain">\n{items}</ul></article>\n'


def render(pages: list[GroupPage], problems: list[str], runs: Path) -> str:
    """index.html."""
    css = _variables() + Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(TITLE)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{escape(TITLE)}</h1>\n"
        "<p>A reproduction of section 4.2 of He, Zhang, Ren and Sun, “Deep Residual Learning for Image "
        "Recognition” (2015). Errors are in percent, differences in percentage points.</p>\n"
        f"{_contents(pages)}</header>\n<main>\n{''.join(map(_article, pages))}{_unusable(problems, runs)}</main>\n"
        f"<footer>Written by resexp {escape(__version__)} from the runs' own records.</footer>\n</body>\n</html>\n"
    )

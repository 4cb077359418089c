"""`resexp report` as a whole: its files, its page, what it prints, and what it refuses."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from synthetic import Synthetic

from resexp.commands.report import task
from resexp.errors import UserError
from resexp.report.report import Report, listed_files, write_report
from resexp.storage.run import FAILED, Run

DRAWN = [f"{figure}.{kind}" for figure in ("figure1", "figure6") for kind in ("pdf", "png", "svg")]
FILES = ["claims.md", "contrasts.csv", "curves.csv", *DRAWN, "final.csv", "table.md"]
VOID = {"meta", "br", "link", "img", "hr"}
SETTINGS = {"runs": "runs", "out": "report", "margin": 0.5, "paper_points": False, "verbose": False, "json": False}
"""Those of `resexp report`."""
EVIL = "<script>alert(1)</script> & 'quotes' in /home/me/private/x.py"


class Page(HTMLParser):
    """Every element with its attributes, and whether all are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two groups; a failed run whose error is hostile; two runs that are not what was measured."""
    folder = tmp_path_factory.mktemp("study")
    short = Synthetic(folder / "runs", "cifar10", "short32")
    short.add_all(["plain20", "plain56", "resnet20"], seeds=2)
    short.add("resnet56", 0, state=FAILED, error=EVIL)
    damage(short.add("plain32"), lambda text: text.replace("\n300,", "\nbroken,"))
    damage(short.add("plain44"), lambda text: text.replace("\n300,", "\n301,"))
    shapes = Synthetic(folder / "runs", "shapes", "quick")
    for name, train in (("plain20", 0.05), ("plain56", 0.89), ("resnet20", 0.04), ("resnet56", 0.03)):
        shapes.add(name, 0, train, train + 0.01, noise=0)
    return folder


def damage(run: Run, change: Callable[[str], str]) -> None:
    run.history_file.write_text(change(run.history_file.read_text()))


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return write_report(folder / "runs", folder / "out")


@pytest.fixture(scope="module")
def page(report: Report) -> Page:
    return Page(report.files[0].read_text())


def test_every_group_has_its_files(folder: Path, report: Report) -> None:
    expected = [folder / "out" / "index.html"]
    for group in ("cifar10/short32", "shapes/quick"):
        expected += [folder / "out" / group / name for name in FILES]
    assert report.files == expected
    assert sorted(path for path in (folder / "out").rglob("*") if path.is_file()) == sorted(expected)


def test_the_terminal_shows_the_page_and_all_files_only_where_that_is_wanted(report: Report) -> None:
    short = listed_files(report.files, verbose=False)
    assert short == f"{report.files[0]} and {len(report.files) - 1} more files; verbose=true lists them"
    assert listed_files(report.files, verbose=True).splitlines() == [str(path) for path in report.files]
    assert listed_files([], verbose=False) == ""


def test_the_page_needs_nothing_from_anywhere(report: Report, page: Page) -> None:
    text = report.files[0].read_text()
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith("#")
    assert not page.all("script")
    assert not page.all("link")
    assert "@import" not in text
    assert text.startswith("<!DOCTYPE html>")
    assert text.count("url(") == text.count("url(#")


def test_the_page_begins_with_the_answer(report: Report) -> None:
    parts = ["plain-and-residual-networks", "numbers", "contrasts", "claims", "why-gradients", "how-it-was-run"]
    marks = [f'id="cifar10-short32-{part}"' for part in (*parts, "unfinished-and-failed-runs")]
    text = report.files[0].read_text()
    places = [text.index(mark) for mark in ("2 seeds: plain-56 ends", *marks, 'id="words"')]
    assert places == sorted(places)


def test_the_page_is_well_formed_and_names_its_parts(page: Page) -> None:
    assert page.open == []
    assert page.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert page.words.count("A degradation study") == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    known = {f"#{name}" for name in ids}
    assert {link["href"] for _, link in page.elements if "href" in link} <= known
    assert {attributes.get("scope") for attributes in page.all("th")} == {"col", "row"}


def test_every_figure_has_words_for_those_who_do_not_see_it(page: Page) -> None:
    figures = page.all("svg")
    assert len(figures) == 8
    assert all("curves end at" in (figure["aria-label"] or "") for figure in figures)


def test_a_mouse_shows_network_seed_and_value_of_what_it_points_at(report: Report) -> None:
    text = report.files[0].read_text()
    assert "<title>plain-20 test, iteration 640: 6.00%</title>" in text
    assert re.search(r"<title>plain-20 train, seed 1: ends at \d\.\d\d%</title>", text)


def test_a_caption_explains_its_figure_once_for_all_studies(page: Page) -> None:
    assert page.words.count("Dashed: training error; solid: test error.") == 1
    assert page.words.count("Each point of a training error is the mean over ") == 4


def test_what_comes_from_files_is_escaped_and_paths_are_not_shown(report: Report, page: Page, folder: Path) -> None:
    text = report.files[0].read_text()
    assert "<script>" not in text
    assert "<script>alert(1)</script> & 'quotes' in .../x.py" in page.words
    assert "/home/me" not in text
    assert str(folder) not in text


def test_the_page_says_what_was_seen_and_what_was_not(page: Page) -> None:
    assert "2 seeds: plain-56 ends" in page.words
    assert "plain-56 did not train within 640 iterations" in page.words
    assert "cifar10/short32/resnet56/seed0" in page.words
    assert "cifar10/short32/plain32/seed0/history.csv: line 4 is damaged" in page.words
    assert "cifar10/short32/plain44/seed0/history.csv is not what was measured" in page.words
    assert "NVIDIA H200" in page.words
    assert "0123456789" in page.words


def test_runs_are_only_read(folder: Path, report: Report) -> None:
    """A lock file would be the first trace of writing."""
    assert report
    names = {path.name for path in (folder / "runs").rglob("*") if path.is_file()}
    assert names == {"config.yaml", "run.json", "history.csv"}


def test_another_process_writes_the_same_bytes_and_never_imports_torch(folder: Path, report: Report) -> None:
    program = (
        "import sys, pathlib, resexp.report.report as r\n"
        "assert 'matplotlib' not in sys.modules\n"
        "r.write_report(pathlib.Path('runs'), pathlib.Path('again'))\n"
        "assert 'torch' not in sys.modules\n"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, check=True, timeout=120)
    for path in report.files:
        assert path.read_bytes() == (folder / "again" / path.relative_to(folder / "out")).read_bytes()


def test_the_command_prints_verdict_table_and_files(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    short = Synthetic(runs, "cifar10", "short32")
    short.add("resnet20", 0, 0.04, 0.05, noise=0)
    short.add("resnet56", 0, 0.029, 0.05, noise=0)
    damage(short.add("plain20"), lambda text: text.replace("\n300,", "\nx,"))
    with caplog.at_level(logging.WARNING, "resexp"):
        task(OmegaConf.create(SETTINGS | {"runs": str(runs), "out": str(tmp_path / "out")}))
    printed = capsys.readouterr()
    *lines, last = printed.out.splitlines()
    assert "ResNet-56 minus ResNet-20: -1.1, one seed, no interval" in lines
    assert "ResNet-56      1           5.00                       2.90                     2.61" in lines
    assert last.startswith(f"{tmp_path / 'out' / 'index.html'} and ")
    assert not (tmp_path / "out" / "cifar10" / "short32" / "figure1.png").exists()
    assert printed.err == ""
    (message,) = caplog.messages
    assert f"{runs}/cifar10/short32/plain20/seed0/history.csv: line 4 is damaged" in message


def test_unfinished_runs_alone_still_make_a_page(runs: Path, tmp_path: Path) -> None:
    Synthetic(runs, "cifar10", "short32").add("plain20", state=FAILED, error="disk full")
    report = write_report(runs, tmp_path / "out")
    words = Page(report.files[0].read_text()).words
    assert "No verdict" in words
    assert "disk full" in words
    assert not list((tmp_path / "out").rglob("*.png"))


def test_no_usable_runs_says_why(runs: Path, tmp_path: Path) -> None:
    run = Synthetic(runs, "cifar10", "short32").add("plain20")
    run.record_file.write_text("{")
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        write_report(runs, tmp_path / "out")


def test_a_place_that_cannot_be_written_is_named(runs: Path, tmp_path: Path) -> None:
    Synthetic(runs, "cifar10", "short32").add("resnet20")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^out: cannot write .*out=PATH"):
        write_report(runs, tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("setting", "value"), [("margin", -1), ("margin", "much"), ("margin", 101), ("paper_points", "x"), ("outt", "x")]
)
def test_a_wrong_setting_is_named(setting: str, value: object) -> None:
    with pytest.raises(UserError, match=setting):
        task(OmegaConf.create(SETTINGS | {setting: value}))


def test_a_page_of_one_study_leads_to_its_parts(runs: Path, tmp_path: Path) -> None:
    Synthetic(runs).add_all(["plain20", "plain56"])
    page = Page(write_report(runs, tmp_path / "out").files[0].read_text())
    links = [link["href"] for link in page.all("a")]
    assert {"#cifar10-paper-numbers", "#cifar10-paper-claims", "#cifar10-paper-why-gradients"} <= set(links)
    assert {f"#{attributes.get('id')}" for _, attributes in page.elements} >= set(links)

"""The page in a real browser: nothing on the console, no request, nothing wider than a wide or a narrow window."""

import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest
from synthetic import Synthetic

from resexp.report.report import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)

pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium here")

LOOK = """<script>
addEventListener("load", () => {
  const top = window.parent.document.body.dataset, page = document.querySelectorAll.bind(document);
  const wide = [...page("body *")].filter(
    (one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll") && !one.closest("svg *"));
  top.width = innerWidth;
  top.wide = wide.map((one) => one.tagName).join(" ");
  top.drawn = [...page("svg")].filter((one) => one.getBoundingClientRect().height > 100).length;
  top.asked = performance.getEntriesByType("resource").map((one) => one.name)
    .filter((name) => !name.startsWith("data:")).join(" ");
});
</script></body>"""
"""What the page looks like from inside, told to the document around its frame."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    Synthetic(folder / "runs").add_all(["plain20", "plain56", "resnet20", "resnet56"], seeds=3)
    write_report(folder / "runs", folder / "out")
    return folder / "out" / "index.html"


def browse(page: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [BROWSER, *QUIET, f"--user-data-dir={page.parent / 'profile'}", "--enable-logging=stderr", *arguments]
    return subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)


def console(said: str) -> list[str]:
    return [line for line in said.splitlines() if ":CONSOLE" in line]


def seen(page: Path, width: int) -> dict[str, str]:
    """What `LOOK` tells of a page in a frame of some width: a browser's own window has a least width."""
    inside = escape(page.read_text(encoding="utf-8").replace("</body>", LOOK))
    around = page.with_name(f"frame{width}.html")
    around.write_text(f'<body><iframe width="{width}" height="900" style="border:0" srcdoc="{inside}"></iframe></body>')
    head = browse(around, f"--window-size={width + 100},1000", "--dump-dom").stdout.partition("<iframe")[0]
    return dict(re.findall(r'data-(\w+)="([^"]*)"', head))


@pytest.mark.parametrize("width", [1200, 500])
def test_the_page_is_drawn_and_the_console_is_silent(page: Path, width: int) -> None:
    shot = page.parent / f"{width}.png"
    done = browse(page, f"--window-size={width},1600", f"--screenshot={shot}")
    assert console(done.stderr) == []
    assert shot.stat().st_size > 20_000


@pytest.mark.parametrize("width", [1200, 380])
def test_the_page_fits_and_asks_for_nothing(page: Path, width: int) -> None:
    assert seen(page, width) == {"width": str(width), "wide": "", "drawn": "4", "asked": ""}


def test_an_error_or_a_request_or_something_wide_would_be_seen(page: Path) -> None:
    bad = page.with_name("bad.html")
    bad.write_text(
        '<body><img src="http://127.0.0.1:9/x.png"><p style="width:9000px">wide</p><script>x()</script></body>'
    )
    found = seen(bad, 380)
    assert found["asked"] == "http://127.0.0.1:9/x.png"
    assert found["wide"] == "P"
    assert "x is not defined" in "".join(console(browse(bad, "--dump-dom").stderr))

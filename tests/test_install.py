"""What a user gets who installs a wheel: code and conf/, working from any folder."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import Command
from synthetic import Synthetic

from resexp import __version__

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like site-packages, in which only the wheel's content lies."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_a_wheel_brings_its_settings(site: Path, resexp: Command) -> None:
    installed = {"PYTHONPATH": str(site)}
    assert "resnet1202" in resexp("models", env=installed).stdout
    assert "lr: 0.1" in resexp("train", "model=plain56", "--cfg", "job", env=installed).stdout


def test_a_wheel_brings_no_results_and_says_so(site: Path, resexp: Command, runs: Path) -> None:
    Synthetic(runs, recipe="short8").add("plain20")
    Synthetic(runs).add("plain20")
    done = resexp("check", env={"PYTHONPATH": str(site)})
    assert done.returncode == 0
    remedy = "reference=PATH takes the results/ folder of a checkout"
    assert done.stderr == f"no reference runs come with this installation; {remedy}\n"
    assert "short8/plain20/seed0: cannot be judged\n" in done.stdout
    assert "paper/plain20/seed0: normal, 3 of 3 values inside" in done.stdout


def test_a_wheel_holds_the_package_and_nothing_else(site: Path) -> None:
    top = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert top == {"resexp"}
    presets = {path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml")}
    assert presets == {path.relative_to(site / "resexp/conf") for path in (site / "resexp/conf").rglob("*.yaml")}
    assert all((site / "resexp" / name).exists() for name in ("report/page.css", "report/page.html", "py.typed"))


def test_a_source_archive_builds_the_same_package(site: Path, tmp_path: Path) -> None:
    (archive,) = site.parent.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, check=True, cwd=source, capture_output=True)
    (again,), (wheel,) = tmp_path.glob("*.whl"), site.parent.glob("*.whl")
    assert again.read_bytes() == wheel.read_bytes()


def test_the_version_is_the_same_wherever_it_stands() -> None:
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {__version__} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

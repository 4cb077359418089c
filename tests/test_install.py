"""What a person gets who installs a wheel: code and conf/, working from any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like site-packages, in which only the wheel's content lies."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def resexp(site: Path, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "resexp", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_wheel_brings_its_settings(site: Path, tmp_path: Path) -> None:
    assert "resnet1202" in resexp(site, tmp_path, "models")
    assert "lr: 0.1" in resexp(site, tmp_path, "train", "model=plain56", "--cfg", "job")


def test_a_wheel_holds_the_package_and_nothing_else(site: Path) -> None:
    top = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert top == {"resexp"}
    presets = {path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml")}
    assert presets == {path.relative_to(site / "resexp/conf") for path in (site / "resexp/conf").rglob("*.yaml")}
    assert (site / "resexp/report/page.css").exists()

"""What notebooks use: the functions of `resexp.api`, and the notebook in docs/, cell by cell."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import torch
from conftest import TINY
from matplotlib.figure import Figure
from synthetic import Synthetic

from resexp.api import UserError, compose, draw_onto, figure6, images_seen, load_network, load_runs, train
from resexp.storage.run import RUNNING

DOCS = Path(__file__).parent.parent / "docs"


def test_a_trained_network_is_rebuilt_and_errs_as_the_run_says(runs: Path) -> None:
    config = compose(*TINY, "model=resnet20", "model.depth=8", "precision=fp32", f"runs={runs}")
    record = train(config)
    network = load_network(config.directory)
    images, labels = images_seen(config)
    assert images.shape == (40, 3, 8, 8)
    with torch.no_grad():
        wrong = network(images).argmax(1) != labels
    assert float(wrong.double().mean()) == pytest.approx(record.final["test_error"])
    assert not network.training
    with pytest.raises(UserError, match="split=validation: not there"):
        images_seen(config, "validation")


def test_runs_are_a_table_and_curves_a_longer_one(runs: Path) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    study = Synthetic(runs, "shapes", "quick", {"recipe.lr": 0.05})
    study.add_all(["plain20", "resnet20"], seeds=2)
    study.add("plain56", state=RUNNING)
    loaded = load_runs(runs)
    frame = loaded.frame()
    assert list(frame["network"]) == ["plain20", "plain20", "resnet20", "resnet20"]
    assert set(frame["recipe.lr"]) == {0.05}
    assert set(frame["model.skip"]) == {2}, "what runs do not record is there too"
    assert list(frame["running_error"]) == [run.final.running_error for run in loaded.finished]
    curves = loaded.frame(curves=True)
    assert len(curves) == sum(len(run.rows) for run in loaded.runs)
    assert set(curves["state"]) == {"finished", "interrupted"}


def test_without_pandas_a_table_is_refused_with_the_remedy(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Synthetic(runs).add("plain20")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"pandas: not installed; in a checkout, pip install -e '\.\[notebook\]'"):
        load_runs(runs).frame()


def test_a_figure_is_drawn_onto_axes_of_ones_own(runs: Path) -> None:
    Synthetic(runs).add_all(["plain20", "resnet20"])
    plate = figure6(load_runs(runs).groups[0])
    assert plate is not None
    axes = Figure().subplots(1, 2)
    draw_onto(plate, axes)
    assert [own.get_title() for own in axes] == [panel.title for panel in plate.panels]
    with pytest.raises(ValueError, match="longer"):
        draw_onto(plate, axes[:1])


def test_every_cell_of_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    results = DOCS.parent / "results"
    if not results.is_dir():
        pytest.skip("the committed results are not checked out")
    (tmp_path / "docs").mkdir()
    (tmp_path / "results").symlink_to(results)
    monkeypatch.chdir(tmp_path / "docs")
    matplotlib.use("Agg")
    cells = json.loads((DOCS / "study.ipynb").read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells), "its outputs are not committed"
    known: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "study.ipynb", "exec"), known)
    assert {series.label for series in known["shortcuts"].series} == {"ResNet-20", "ResNet-56"}
    assert known["record"].final["test_error"] < 0.9

"""`resexp compare` and the comparisons of a report: tables, figures, CSV, the page."""

import csv
from pathlib import Path

import pytest
from conftest import Here
from synthetic import Synthetic

from resexp.analysis.compare import comparisons
from resexp.analysis.study import load_study
from resexp.errors import UserError
from resexp.report.compare import compared_table, notes, plates, runs_csv
from resexp.report.report import write_report


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks, three rates, two seeds; of ResNet-20 the highest rate is missing."""
    runs = tmp_path_factory.mktemp("sweep") / "runs"
    for lr, error in (("0.05", 0.1), ("0.1", 0.12), ("0.2", 0.3)):
        study = Synthetic(runs, "shapes", "quick", {"recipe.lr": lr})
        for network in ("plain20", "resnet20") if lr != "0.2" else ("plain20",):
            for seed in (0, 1):
                study.add(network, seed, error + 0.01 * seed, error + 0.02 * seed, noise=0)
    return runs


def test_the_table_has_errors_and_differences(runs: Path) -> None:
    (found,) = comparisons(load_study(runs))
    table = compared_table(found)
    rows = {(row[0], row[1]): row[2:] for row in table.rows}
    assert list(rows) == [
        *(("plain-20", lr) for lr in ("0.05", "0.1", "0.2")),
        *(("ResNet-20", lr) for lr in ("0.05", "0.1")),
    ]
    assert rows["plain-20", "0.1"] == ["2", "13.00 ± 1.41", "12.50 ± 0.71", "11.25 ± 0.64", "-", "-"]
    assert rows["plain-20", "0.2"][-2:] == ["+18.0 (18.0 to 18.0)", "+18.0 (18.0 to 18.0)"]


def test_runs_of_several_precisions_are_said_to_be(tmp_path: Path) -> None:
    for lr, precision in (("0.05", "bf16"), ("0.1", "fp32")):
        Synthetic(tmp_path, "shapes", "quick", {"recipe.lr": lr}).add("plain20", precision=precision)
    (found,) = comparisons(load_study(tmp_path))
    assert "All their other settings are equal, but they were trained in bf16 and fp32." in notes(found)


def test_the_csv_has_a_row_for_each_run_and_the_settings_that_differ(runs: Path) -> None:
    (found,) = comparisons(load_study(runs))
    rows = list(csv.DictReader(runs_csv(found).splitlines()))
    assert len(rows) == 10
    first = rows[0]
    assert (first["series"], first["recipe.lr"], first["seed"]) == ("plain-20", "0.05", "0")
    assert float(first["test_error"]) == 0.1
    assert "recipe.momentum" not in first


def test_figures_show_errors_over_the_setting_and_a_panel_of_curves_for_each_network(runs: Path) -> None:
    errors, curves = plates(comparisons(load_study(runs))[0])
    assert [panel.title for panel in errors.panels] == ["Running training error (%)", "Test error (%)"]
    plain = errors.panels[0].curves[0]
    assert plain.mean == [(0.0, pytest.approx(0.105)), (1.0, pytest.approx(0.125)), (2.0, pytest.approx(0.305))]
    assert [text for _, text in errors.panels[0].x.ticks] == ["0.05", "0.1", "0.2"]
    assert all(error <= errors.panels[0].y.high for line in plain.lines for _, error in line)
    assert [panel.title for panel in curves.panels] == ["plain-20", "ResNet-20"]
    assert [curve.label for curve in curves.panels[1].curves] == ["0.05", "0.1"]


def test_compare_writes_its_files_and_prints_the_table(here: Here, runs: Path, tmp_path: Path) -> None:
    printed = here("compare", f"runs={runs}", "over=recipe.lr", "out=.", "verbose=true")
    assert "plain-20   0.2" in printed
    names = sorted(f"{figure}.{kind}" for figure in ("curves", "errors") for kind in ("pdf", "png", "svg"))
    names += ["runs.csv", "table.md"]
    assert sorted(path.name for path in (tmp_path / "compare" / "recipe.lr").iterdir()) == names
    assert all(name in printed for name in names)


def test_several_settings_are_compared_each_by_itself(here: Here, runs: Path) -> None:
    printed = here("compare", f"runs={runs}", "over=recipe.lr,recipe", "out=both")
    assert ("Over recipe.lr\n" in printed, "Over recipe\n" in printed) == (True, True)
    assert max(map(len, printed.splitlines())) <= 100
    with pytest.raises(UserError, match=r"^over=data\.name: .*; over=model\.residual, recipe\.lr, recipe or model$"):
        here("compare", f"runs={runs}", "over=recipe.lr,data.name", "out=both")


def test_nothing_to_compare_is_refused_with_what_differs(here: Here, tmp_path: Path) -> None:
    Synthetic(tmp_path / "runs").add_all(["plain20", "plain56"])
    with pytest.raises(UserError, match=r"depth aside; over=model.depth or model$"):
        here("compare")


def test_a_report_shows_a_sweep_once(runs: Path, tmp_path: Path) -> None:
    """Instead of a study without a verdict for each value."""
    report = write_report(runs, tmp_path)
    assert len(report.sections) == 1
    assert {path.parent.relative_to(tmp_path).as_posix() for path in report.files} == {".", "compare/recipe.lr"}
    page = (tmp_path / "index.html").read_text()
    assert "No verdict" not in page
    assert page.count("<article") == 3
    assert "resexp train -m model=plain20" in page

"""Which curves stand in which panel, and what the words below a figure say."""

from pathlib import Path

import pytest
from synthetic import Synthetic, only_group

from resexp.analysis.study import load_study
from resexp.report.figures import figure1, figure6, top
from resexp.storage.run import FAILED

SPARSE = {"recipe.row_every": 2000, "recipe.evaluate_every": 4000}
"""Of the paper's recipe, in few rows."""


@pytest.fixture
def papers(runs: Path) -> Synthetic:
    return Synthetic(runs, "cifar10", "paper", dict(SPARSE))


def test_figure1_is_plain20_against_plain56_in_training_and_test_error(papers: Synthetic) -> None:
    papers.add_all(["plain20", "plain56", "resnet20"], seeds=2)
    plate = figure1(only_group(papers.runs))
    assert plate is not None
    assert [panel.title for panel in plate.panels] == ["Training error (%)", "Test error (%)"]
    assert [[curve.network for curve in panel.curves] for panel in plate.panels] == [["plain20", "plain56"]] * 2
    assert plate.panels[0].y.high == 0.2
    assert plate.setting == "CIFAR-10; the paper's recipe (64,000 iterations) on NVIDIA H200 in bf16; 2 seeds (0, 1)"
    assert "is the mean over 2,000 iterations." in plate.caption
    assert "Bold: mean over seeds; thin: each seed." in plate.key


def test_figure1_draws_what_is_there_and_says_what_is_missing(short: Synthetic) -> None:
    short.add("plain20")
    short.add("plain56", state=FAILED)
    plate = figure1(only_group(short.runs))
    assert plate is not None
    assert [len(panel.curves) for panel in plate.panels] == [1, 1]
    assert plate.title == "Plain networks of 20 layers, CIFAR-10"
    assert "Not drawn, no finished run: plain-56." in plate.caption


def test_no_figure_without_a_finished_run(short: Synthetic) -> None:
    short.add("plain20", state=FAILED)
    group = only_group(short.runs)
    assert figure1(group) is None
    assert figure6(group) is None


def test_figure6_is_plain_beside_residual(short: Synthetic) -> None:
    short.add_all(["plain20", "plain56", "resnet20"])
    plate = figure6(only_group(short.runs))
    assert plate is not None
    labels = [[(curve.label, curve.dashed) for curve in panel.curves] for panel in plate.panels]
    plain = [("20 train", True), ("20 test", False), ("56 train", True), ("56 test", False)]
    assert labels == [plain, [("20 train", True), ("20 test", False)]]
    assert "single seed (0)" in plate.setting
    assert "Bold" not in " ".join(plate.key)
    assert plate.key[0] == "Dashed: training error; solid: test error."


def test_a_curve_is_the_mean_over_seeds_and_ends_at_the_tables_figure(short: Synthetic) -> None:
    short.add("plain20", 0, 0.10, 0.20, noise=0)
    short.add("plain20", 1, 0.14, 0.30, noise=0)
    plate = figure6(only_group(short.runs))
    assert plate is not None
    train, test = plate.panels[0].curves
    assert (train.dashed, test.dashed) == (True, False)
    assert train.mean[-1] == (2000, pytest.approx(0.12))
    assert test.mean[-1] == (2000, pytest.approx(0.25))
    assert "plain-20 train 12.0%, plain-20 test 25.0%" in plate.panels[0].alt
    assert len(train.seeds) == 2
    assert [at for at, _ in test.mean] == [1000, 2000]


def test_a_long_training_curve_is_drawn_as_means_over_its_rows(runs: Path) -> None:
    Synthetic(runs, "cifar10", "short32", {"recipe.row_every": 10}).add("plain20", 0, 0.1, noise=0)
    group = only_group(runs)
    plate = figure1(group)
    assert plate is not None
    (curve,) = plate.panels[0].curves
    rows = group.networks[0].runs[0].rows
    assert curve.mean[0] == (30, pytest.approx(sum(row.train_error for row in rows[:3]) / 3))
    assert curve.mean[-1][0] == 2000
    assert "is the mean over 30 iterations" in plate.caption


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ({"plain20": 0.02, "plain56": 0.06}, 0.1),
        ({"plain20": 0.10, "plain56": 0.15}, 0.3),
        ({"plain20": 0.05, "plain56": 0.89}, 1.0),
        ({"plain20": 0.05, "plain110": 0.89}, 0.1),
    ],
)
def test_the_axis_has_room_for_what_the_study_is_about(
    short: Synthetic, ends: dict[str, float], expected: float
) -> None:
    for name, end in ends.items():
        short.add(name, 0, end, end, noise=0)
    group = only_group(short.runs)
    assert top(group, group.networks) == expected


def test_what_is_off_the_scale_is_said(papers: Synthetic) -> None:
    papers.add_all(["plain20"])
    papers.add("plain110", 0, 0.777, 0.784, noise=0)
    plate = figure6(only_group(papers.runs))
    assert plate is not None
    assert "Off the scale: plain-110 train 77.7% and plain-110 test 78.4%." in plate.caption


@pytest.mark.parametrize(
    ("errors", "named"),
    [
        ([0.097, 0.0971, 0.13], "Far from the other seeds, in training error: ResNet-56 seed 2 by +3.3 points."),
        ([0.41, 0.514, 0.513], "Far from the other seeds, in training error: ResNet-56 seed 0 by -10.3 points."),
        ([0.1, 0.12, 0.14], ""),
        ([0.1, 0.1001, 0.103], ""),
        ([0.1, 0.2], ""),
    ],
)
def test_a_seed_that_leaves_the_others_is_named(short: Synthetic, errors: list[float], named: str) -> None:
    for seed, error in enumerate(errors):
        short.add("resnet56", seed, error, noise=0)
    plate = figure6(load_study(short.runs).groups[0])
    assert plate
    assert named in plate.caption
    assert ("Far from" in plate.caption) == bool(named)


def test_the_papers_points_only_on_request_and_only_beside_its_own_recipe(papers: Synthetic, tmp_path: Path) -> None:
    papers.add_all(["plain56", "resnet110"])
    group = only_group(papers.runs)
    asked, not_asked = figure6(group, paper_points=True), figure6(group)
    assert asked is not None
    assert not_asked is not None
    assert ("plain56", True, 62_000, 0.133) in asked.panels[0].points
    assert "Hollow markers: the paper's figure, digitised." in asked.caption
    Synthetic(tmp_path / "short", "cifar10", "short32").add_all(["plain56"])
    elsewhere = figure6(only_group(tmp_path / "short"), paper_points=True)
    assert elsewhere is not None
    assert not any(panel.points for panel in (*not_asked.panels, *elsewhere.panels))


def test_other_data_and_a_shortened_schedule_are_called_that(runs: Path) -> None:
    Synthetic(runs, "shapes", "quick").add("plain20")
    plate = figure1(only_group(runs))
    assert plate is not None
    about = "Embedded data set shapes, not CIFAR-10; recipe quick, a shortened schedule with another batch_size, lr, "
    assert plate.setting == f"{about}drops and pad (640 iterations) on NVIDIA H200 in bf16; single seed (0)"


def test_figure6_leaves_variants_to_the_table_where_the_papers_networks_are(runs: Path) -> None:
    study = Synthetic(runs)
    variant = Synthetic(runs / "b", "cifar10", "paper", study.changes | {"model.shortcut": "B"})
    variant.add("resnet20")
    variant.add("resnet56")

    def drawn() -> tuple[set[str], str]:
        plate = figure6(only_group(runs))
        assert plate is not None
        return {curve.network for panel in plate.panels for curve in panel.curves}, plate.caption

    assert drawn()[0] == {"resnet20+shortcutB", "resnet56+shortcutB"}
    study.add("resnet20")
    shown, caption = drawn()
    assert shown == {"resnet20", "resnet20+shortcutB", "resnet56+shortcutB"}
    assert "Not drawn" not in caption
    study.add("plain20")
    shown, caption = drawn()
    assert shown == {"plain20", "resnet20"}
    assert "Not drawn, but in the table: ResNet-20+shortcutB and ResNet-56+shortcutB." in caption
    assert "no finished run" not in caption


def test_of_many_seeds_some_are_drawn_and_all_are_named_together(short: Synthetic) -> None:
    for seed in (*range(24), 30):
        short.add("plain20", seed)
    plate = figure6(only_group(short.runs))
    assert plate is not None
    curve = plate.panels[0].curves[0]
    assert (len(curve.seeds), len(curve.thin)) == (25, 20)
    assert plate.setting.endswith("25 seeds (0 to 23, 30)")
    assert "Bold: mean over seeds; thin: the first 20 of them." in plate.key

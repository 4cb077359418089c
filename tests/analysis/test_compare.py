"""Runs that differ in one setting: what is put beside what, and what is refused."""

from pathlib import Path

import pytest
from synthetic import Synthetic

from resexp.analysis.compare import compare as compare_over
from resexp.analysis.compare import comparisons, only_compared
from resexp.analysis.study import load_study
from resexp.errors import UserError
from resexp.report.compare import compared_table


def swept(runs: Path, setting: str, values: dict[str, float], networks: tuple[str, ...], seeds: int = 3) -> None:
    """A run for each value, network and seed, that ends at the value's error and a little more for each seed."""
    for value, error in values.items():
        study = Synthetic(runs, "shapes", "quick", {setting: value})
        for network in networks:
            for seed in range(seeds):
                study.add(network, seed, error + 0.01 * seed, error + 0.02 * seed, noise=0)


def test_a_sweep_has_an_axis_and_a_series_for_each_network(runs: Path) -> None:
    swept(runs, "recipe.weight_decay", {"0.005": 0.3, "0.0001": 0.1, "0.001": 0.2}, ("resnet20", "plain20"))
    (found,) = comparisons(load_study(runs))
    assert (found.over, found.values, found.reference) == (
        "recipe.weight_decay",
        ["0.0001", "0.001", "0.005"],
        "0.0001",
    )
    assert [series.label for series in found.series] == ["plain-20", "ResNet-20"]
    for series in found.series:
        assert [len(series.cells[value].finished) for value in found.values] == [3, 3, 3]
        contrast = found.contrast(series, "0.005", "running_error")
        assert contrast.difference == pytest.approx(0.2, abs=1e-6)
        assert contrast.interval == pytest.approx((0.2, 0.2), abs=1e-6)


def test_the_papers_value_is_what_others_are_compared_with(runs: Path) -> None:
    swept(runs, "recipe.lr", {"0.01": 0.3, "0.1": 0.1, "0.2": 0.2}, ("plain20",))
    (found,) = comparisons(load_study(runs))
    assert (found.values, found.reference) == (["0.01", "0.1", "0.2"], "0.1")
    contrast = found.contrast(found.series[0], "0.01", "test_error")
    assert (contrast.name, contrast.difference) == ("plain-20: 0.01 minus 0.1", pytest.approx(0.2, abs=1e-6))


def test_runs_that_differ_in_more_than_one_setting_are_not_put_together(runs: Path) -> None:
    Synthetic(runs, "shapes", "quick", {"recipe.lr": 0.2}).add("plain20")
    Synthetic(runs, "shapes", "quick", {"recipe.momentum": 0.5}).add("plain20")
    Synthetic(runs, "cifar10", "short8").add("plain20")
    assert comparisons(load_study(runs)) == []


def test_series_are_told_apart_by_what_differs_among_them(runs: Path) -> None:
    for recipe in ("quick", "short8"):
        for lr in (0.1, 0.2):
            for flip in (True, False):
                Synthetic(runs, "shapes", recipe, {"recipe.lr": lr, "recipe.flip": flip}).add("resnet20")
    found = compare_over(load_study(runs), "recipe.lr")
    assert {series.label for series in found.series} == {
        *("ResNet-20, quick, flip true", "ResNet-20, quick, flip false"),
        *("ResNet-20, short8, flip true", "ResNet-20, short8, flip false"),
    }
    assert [one.over for one in comparisons(load_study(runs))] == ["recipe.lr", "recipe.flip"]


def test_the_seed_of_images_is_not_taken_for_that_of_a_run(runs: Path) -> None:
    for images in (0, 1):
        for lr in (0.1, 0.2):
            Synthetic(runs, "shapes", "quick", {"recipe.lr": lr, "data.seed": images}).add("resnet20")
    found = compare_over(load_study(runs), "recipe.lr")
    assert [series.label for series in found.series] == ["ResNet-20, data.seed 0", "ResNet-20, data.seed 1"]
    assert compared_table(compare_over(load_study(runs), "data.seed")).heading[1] == "data.seed"


def test_depth_is_an_axis_when_asked_for(runs: Path) -> None:
    Synthetic(runs).add_all(["plain20", "plain56", "resnet20", "resnet56"])
    study = load_study(runs)
    assert comparisons(study) == []
    found = compare_over(study, "model.depth")
    assert found.values == ["20", "56"]
    assert [series.label for series in found.series] == ["plain networks", "residual networks"]
    assert compare_over(study, "model").values == ["plain20", "plain56", "resnet20", "resnet56"]
    both = [series.label for series in compare_over(study, "model.residual").series]
    assert both == ["20 layers", "56 layers"]


def test_a_recipe_as_a_whole_can_be_the_axis(runs: Path) -> None:
    for recipe in ("paper", "short8"):
        Synthetic(runs, "cifar10", recipe).add_all(["plain20"])
    found = compare_over(load_study(runs), "recipe")
    assert (found.values, found.series[0].label) == (["paper", "short8"], "plain-20")


def test_precision_is_compared_and_counted_once(runs: Path, tmp_path: Path) -> None:
    for precision, error in (("bf16", 0.2), ("fp32", 0.1)):
        study = Synthetic(tmp_path / "runs" / precision, "cifar10", "short8")
        for seed in (0, 1):
            study.add("plain56", seed, error, error, noise=0, precision=precision)
    study = load_study(runs)
    assert study.problems == []
    assert (len(study.finished), len(study.repeats)) == (2, 2)
    (found,) = comparisons(study)
    assert (found.over, found.values) == ("precision", ["fp32", "bf16"])
    assert found.contrast(found.series[0], "bf16", "running_error").difference == pytest.approx(0.1, abs=1e-6)


def test_of_two_precisions_that_counts_in_which_most_of_the_group_was_trained(runs: Path, tmp_path: Path) -> None:
    """Wherever its folder stands, or one run in bf16 would change the verdict of a study in fp32."""
    for folder, precision, seeds in (("a", "bf16", [0]), ("b", "fp32", [0, 1])):
        study = Synthetic(tmp_path / "runs" / folder, "cifar10", "short8")
        for seed in seeds:
            study.add("plain56", seed, precision=precision)
    study = load_study(runs)
    assert {run.precision for run in study.finished} == {"fp32"}
    assert [run.precision for run in study.repeats] == ["bf16"]


def test_two_names_of_the_same_settings_are_not_two_seeds(runs: Path) -> None:
    swept(runs, "recipe.lr", {"0.05": 0.2, "0.1": 0.1}, ("plain20",), seeds=1)
    again = {"model.depth": 20, "recipe.lr": 0.1}
    Synthetic(runs, "shapes", "quick", {**again, "model.residual": False}).add("resnet32", 0, 0.3)
    (found,) = comparisons(load_study(runs))
    assert [len(cell.runs) for one in found.series for cell in one.cells.values()] == [1, 1]


def test_runs_started_from_weights_named_after_the_seed_are_one_network(runs: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        weights = tmp_path / f"plain56-from-20-seed{seed}.pt"
        weights.write_bytes(bytes([seed]))
        study = Synthetic(runs, "shapes", "quick", {"start": weights})
        study.add("plain56", seed, start={"file": str(weights), "sha256": "0" * 64})
    (network,) = load_study(runs).groups[0].networks
    assert (network.name, [run.seed for run in network.finished]) == ("plain56+startfrom-20", [0, 1])
    for seed in (0, 1):
        weights = tmp_path / f"plain56-from-20-seed{seed}.pt"
        faster = Synthetic(runs, "shapes", "quick", {"start": weights, "recipe.lr": "0.2"})
        faster.add("plain56", seed, start={"file": str(weights), "sha256": "0" * 64})
    (series,) = compare_over(load_study(runs), "recipe.lr").series
    assert series.label == "plain-56+startfrom-20", "not the network that is trained from its own initial weights"


def test_a_group_that_a_comparison_shows_has_no_verdict_of_its_own(runs: Path) -> None:
    swept(runs, "recipe.lr", {"0.05": 0.1, "0.2": 0.2}, ("plain20",))
    Synthetic(runs, "shapes", "quick", {"recipe.lr": "0.2"}).add("plain56", 0)
    study = load_study(runs)
    assert [group.recipe for group in only_compared(study, comparisons(study))] == ["quick+lr0.05"]


@pytest.mark.parametrize(
    ("over", "why"),
    [
        ("recipe.momentum", "no finished runs differ in this alone"),
        ("recipe.rate", "no such setting"),
        ("device", "no finished runs differ in this alone"),
        ("seed", "seeds are averaged"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_what_can(runs: Path, over: str, why: str) -> None:
    swept(runs, "recipe.lr", {"0.05": 0.1, "0.2": 0.2}, ("plain20",), seeds=1)
    with pytest.raises(UserError) as refused:
        compare_over(load_study(runs), over)
    assert str(refused.value) == f"over={over}: {why}; over=recipe.lr or recipe"

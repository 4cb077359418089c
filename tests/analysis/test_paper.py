"""The published numbers agree with each other, with the presets, and with what is counted from the networks."""

import pytest
from synthetic import composed

from resexp.analysis import paper
from resexp.model.cost import parameters

MILLIONS = {"20": 0.27, "32": 0.46, "44": 0.66, "56": 0.85, "110": 1.7, "1202": 19.4}
"""Parameters of a network by its depth (table 6), plain and residual alike."""


def recipe(name: str) -> dict[str, object]:
    return composed(f"recipe={name}").result()["recipe"]


def model_preset(name: str) -> dict[str, object]:
    return composed(f"model={name}").result()["model"]


def test_the_recipe_preset_called_paper_is_the_papers() -> None:
    assert paper.is_papers_recipe(recipe("paper"))
    assert not paper.is_papers_recipe(recipe("short8"))


def test_how_often_is_measured_is_not_part_of_the_papers_recipe() -> None:
    assert paper.is_papers_recipe(recipe("paper") | {"row_every": 10, "name": "mine"})


@pytest.mark.parametrize("change", [{"lr": 0.05}, {"iterations": 63_999}, {"drops": [32_000]}, {"flip": False}])
def test_every_other_setting_is(change: dict[str, object]) -> None:
    assert not paper.is_papers_recipe(recipe("paper") | change)


@pytest.mark.parametrize(("held_out", "papers"), [(0, True), (5000, True), (10_000, False)])
def test_the_papers_data_is_cifar10_with_or_without_its_validation_images(held_out: int, papers: bool) -> None:
    assert paper.is_papers_data({"name": "cifar10", "validation": held_out, "seed": 3}) == papers
    assert not paper.is_papers_data({"name": "shapes"})


@pytest.mark.parametrize("name", sorted({*paper.TEST_ERROR, *paper.TRAIN_ERROR}))
def test_every_published_network_is_a_preset_of_the_published_size(name: str) -> None:
    model = model_preset(name)
    assert paper.network_name(model) == name
    millions = MILLIONS[str(model["depth"])]
    assert parameters(composed(f"model={name}").model) / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize("change", [{"width": 2}, {"norm": "none"}, {"shortcut": "B"}, {"depth": 26}, {"linear": "he"}])
def test_another_network_is_none_of_the_papers(change: dict[str, object]) -> None:
    assert paper.network_name(model_preset("resnet20") | change) is None


def test_table_6_and_figure_6_agree() -> None:
    for name, drawn in paper.FIGURE_TEST_ERROR.items():
        assert drawn.error == pytest.approx(paper.TEST_ERROR[name].error, abs=0.0015)


def test_a_number_says_what_it_is() -> None:
    assert str(paper.TEST_ERROR["resnet56"]) == "6.97"
    assert paper.TEST_ERROR["resnet56"].source == "table 6"
    assert str(paper.TEST_ERROR["plain56"]) == "13.3 (digitised)"
    assert str(paper.TRAIN_ERROR["plain110"]) == "above 60"


def test_the_paper_lies_in_or_near_the_range_of_reproductions() -> None:
    for name, (low, high) in paper.REPRODUCED.items():
        assert low - 0.003 <= paper.TEST_ERROR[name].error <= high + 0.003

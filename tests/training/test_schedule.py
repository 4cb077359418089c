"""The learning rate of the paper's recipe, and the warm-up of its deepest network."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resexp.config.compose import compose
from resexp.config.settings import ModelConfig, RecipeConfig
from resexp.training.schedule import Schedule, warms_up


@pytest.fixture(scope="module")
def paper() -> RecipeConfig:
    return compose("recipe=paper").recipe


def rates(recipe: RecipeConfig, warming_up: bool, *iterations: int) -> list[float]:
    schedule = Schedule(recipe, warming_up)
    return [schedule.rate(iteration) for iteration in iterations]


def test_the_rate_drops_tenfold_after_32000_and_48000_iterations(paper: RecipeConfig) -> None:
    ends = (1, 32_000, 32_001, 48_000, 48_001, 64_000)
    assert rates(paper, False, *ends) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rel=1e-12)
    assert rates(paper, True, *ends) == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.001, 0.001], rel=1e-12)


@pytest.mark.parametrize(
    ("warmup", "depth", "residual", "expected"),
    [
        ("auto", 110, True, True),
        ("auto", 1202, True, True),
        ("auto", 104, True, False),
        ("auto", 110, False, False),
        ("always", 20, False, True),
        ("never", 110, True, False),
    ],
)
def test_deep_residual_networks_warm_up_unless_the_recipe_says_otherwise(
    paper: RecipeConfig, warmup: str, depth: int, residual: bool, expected: bool
) -> None:
    model = ModelConfig("any", depth, residual, "A", 1, "batch")
    assert warms_up(replace(paper, warmup=warmup), model) is expected


def test_the_warm_up_runs_at_a_tenth_of_the_rate_until_a_rows_error_is_below_80_percent(paper: RecipeConfig) -> None:
    schedule = Schedule(paper, warming_up=True)
    seen: list[float] = []
    for row, train_error in enumerate([0.9, 0.8, 0.7999, 0.85]):
        seen.append(schedule.rate(100 * row + 1))
        schedule.row_done(train_error)
    assert [*seen, schedule.rate(401)] == [0.01, 0.01, 0.01, 0.1, 0.1]


@given(st.lists(st.floats(0, 1)), st.booleans(), st.integers(1, 64_000))
def test_a_warm_up_that_is_over_never_comes_back_nor_one_that_never_was(
    paper: RecipeConfig, errors: list[float], warming_up: bool, iteration: int
) -> None:
    schedule = Schedule(paper, warming_up)
    for train_error in [*errors, 0.5, *errors] if warming_up else errors:
        schedule.row_done(train_error)
    assert [schedule.rate(iteration)] == rates(paper, False, iteration)

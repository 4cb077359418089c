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


def network(depth: int, residual: bool) -> ModelConfig:
    return ModelConfig("any", depth, residual, "A", 1, "batch")


@pytest.mark.parametrize(
    ("iteration", "rate"),
    [(1, 0.1), (32_000, 0.1), (32_001, 0.01), (48_000, 0.01), (48_001, 0.001), (64_000, 0.001)],
)
def test_the_rate_drops_tenfold_after_32000_and_48000_iterations(
    paper: RecipeConfig, iteration: int, rate: float
) -> None:
    assert Schedule(paper, warming_up=False).rate(iteration) == pytest.approx(rate, rel=1e-12)


def test_another_number_of_iterations_moves_no_drop() -> None:
    recipe = compose("recipe=paper", "recipe.iterations=1000").recipe
    assert (recipe.iterations, list(recipe.drops)) == (1000, [32_000, 48_000])
    assert Schedule(recipe, warming_up=False).rate(1000) == 0.1


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
def test_deep_residual_networks_warm_up_unless_told_otherwise(
    paper: RecipeConfig, warmup: str, depth: int, residual: bool, expected: bool
) -> None:
    assert warms_up(replace(paper, warmup=warmup), network(depth, residual)) is expected


def test_the_warm_up_runs_at_a_hundredth_until_a_rows_error_is_below_80_percent(paper: RecipeConfig) -> None:
    schedule = Schedule(paper, warming_up=True)
    rates: list[float] = []
    for row, train_error in enumerate([0.9, 0.8, 0.7999, 0.85]):
        rates.append(schedule.rate(100 * row + 1))
        schedule.row_done(train_error)
    assert [*rates, schedule.rate(401)] == [0.01, 0.01, 0.01, 0.1, 0.1]


@given(st.lists(st.floats(0, 1)), st.integers(1, 64_000))
def test_a_warm_up_once_over_never_comes_back_and_shifts_no_drop(
    paper: RecipeConfig, errors: list[float], iteration: int
) -> None:
    schedule = Schedule(paper, warming_up=True)
    for train_error in [*errors, 0.5, *errors]:
        schedule.row_done(train_error)
    assert schedule.rate(iteration) == Schedule(paper, warming_up=False).rate(iteration)


def test_a_warm_up_that_does_not_end_holds_up_no_drop(paper: RecipeConfig) -> None:
    schedule = Schedule(paper, warming_up=True)
    assert [schedule.rate(at) for at in (32_000, 32_001, 48_000, 48_001)] == pytest.approx([0.01, 0.01, 0.01, 0.001])


@given(st.lists(st.floats(0, 1)))
def test_a_network_without_warm_up_never_gets_one(paper: RecipeConfig, errors: list[float]) -> None:
    schedule = Schedule(paper, warming_up=False)
    for train_error in errors:
        schedule.row_done(train_error)
    assert schedule.rate(1) == 0.1

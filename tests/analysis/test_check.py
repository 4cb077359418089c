"""Is a run normal? Other seeds pass, wrong ones are caught, and what cannot be judged is named."""

import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Here
from synthetic import Synthetic, composed, make_rows

from resexp.analysis import check, paper
from resexp.analysis.check import Judgement
from resexp.analysis.intervals import level_of_each, prediction_interval
from resexp.analysis.study import Group, NetworkRuns, Study, StudyRun
from resexp.errors import UserError
from resexp.storage.run import FINISHED, INTERRUPTED, Record

SMALL = (
    "data=shapes",
    "data.hint=1",
    "data.train_images=384",
    "data.test_images=256",
    "data.image_size=8",
    "recipe=quick",
    "recipe.batch_size=48",
    "recipe.lr=0.004",
    "recipe.iterations=96",
    "recipe.drops=[72]",
    "recipe.row_every=6",
    "recipe.evaluate_every=24",
    "model.depth=8",
    "device=cpu",
    "threads=1",
    "precision=fp32",
    "checkpoint_seconds=1000",
)
"""A run of a second or two that learns: from 90% error to a few."""


def test_a_halved_learning_rate_is_caught_and_another_seed_passes(here: Here) -> None:
    here("train", "-m", *SMALL, "seed=0,1,2,3,4", "runs=reference")
    here("train", *SMALL, "seed=7", "runs=normal")
    here("train", *SMALL, "seed=8", "recipe.lr=0.002", "runs=halved")
    printed = here("check", "runs=normal", "reference=reference")
    assert "seed7: normal, 10 of 10 values inside" in printed
    assert "5 reference seeds (0, 1, 2, 3 and 4)" in printed
    with pytest.raises(UserError, match="1 of 1 runs outside"):
        here("check", "runs=halved", "reference=reference")


def in_memory(seed: int, wobble: float, state: str = FINISHED) -> StudyRun:
    """A run of plain-20 on the short32 recipe, its errors `wobble` times those of its fellows."""
    result: dict[str, Any] = {**composed("model=plain20", "data=cifar10", "recipe=short32").result(), "seed": seed}
    rows = make_rows(result["recipe"], 0.4 * wobble, 0.3 * wobble, 0.32 * wobble, seed)
    rows = rows if state == FINISHED else rows[: len(rows) // 2]
    labels = {part: result[part]["name"] for part in ("model", "data", "recipe")}
    return StudyRun(f"seed{seed}", labels, result, Record(state, data={"test_images": 10_000}), rows, state)


def study(runs: list[StudyRun]) -> Study:
    result = runs[0].result
    network = NetworkRuns("plain20", result["model"], runs)
    return Study([Group("cifar10", "short32", result["data"], result["recipe"], [network])])


def simulated(trials: int, seeds: int, state: str) -> list[Judgement]:
    """Another normal run against that many reference seeds, again and again."""
    draw = random.Random(seeds)
    judgements: list[Judgement] = []
    for trial in range(trials):
        runs = [in_memory(trial * (seeds + 1) + k, 1 + draw.gauss(0, 0.05)) for k in range(seeds)]
        run = in_memory(trial * (seeds + 1) + seeds, 1 + draw.gauss(0, 0.05), state)
        judgements += check.check([run], study(runs))
    return judgements


@pytest.mark.parametrize(("seeds", "state", "count"), [(3, FINISHED, 8), (5, FINISHED, 8), (3, INTERRUPTED, 5)])
def test_a_normal_curve_is_called_outside_in_at_most_one_case_in_twenty(seeds: int, state: str, count: int) -> None:
    judgements = simulated(120, seeds, state)
    assert {len(one.comparisons) for one in judgements} == {count}
    alarms = sum(bool(one.outside) for one in judgements)
    assert alarms <= 120 * (0.05 if state == INTERRUPTED else 0.06)
    assert alarms or state == INTERRUPTED  # the level is that of a whole run


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_false_alarm_rate_is_five_percent_where_values_are_independent(seeds: int) -> None:
    count, trials = 12, 1000
    draw, level = random.Random(f"{seeds} {count}"), level_of_each(count)

    def outside() -> bool:
        *known, error = (draw.gauss(0.3, 0.02) for _ in range(seeds + 1))
        low, high = prediction_interval(known, level, 1e6)
        return not low <= error <= high

    assert 0.035 <= sum(any(outside() for _ in range(count)) for _ in range(trials)) / trials <= 0.065


def test_the_interval_is_the_textbooks() -> None:
    low, high = prediction_interval([0.10, 0.12, 0.14], 0.95, 1e6)
    half = 4.302653 * 0.02 * (4 / 3) ** 0.5
    assert (low, high) == (pytest.approx(0.12 - half, abs=1e-6), pytest.approx(0.12 + half, abs=1e-6))


def test_seeds_that_agree_by_chance_leave_the_noise_of_counting() -> None:
    low, high = prediction_interval([0.08, 0.08, 0.08], 0.95, 10_000)
    half = 4.302653 * (0.08 * 0.92 / 10_000) ** 0.5 * (4 / 3) ** 0.5
    assert (low, high) == (pytest.approx(0.08 - half, abs=1e-6), pytest.approx(0.08 + half, abs=1e-6))
    assert prediction_interval([0.0, 0.0, 0.0], 0.95, 10_000)[1] > 0


@pytest.fixture
def reference(tmp_path: Path) -> Synthetic:
    """Four seeds of plain-20 on a shortened schedule, as results/ would hold them."""
    synthetic = Synthetic(tmp_path / "results" / "figure1", recipe="short8")
    for seed in range(4):
        synthetic.add("plain20", seed, 0.11 + 0.002 * seed, 0.14 + 0.001 * seed)
    return synthetic


def checked(here: Here, *arguments: str) -> str:
    return here("check", "runs=runs", "reference=results", *arguments)


def test_what_is_outside_is_printed_with_the_settings_that_differ(
    here: Here, tmp_path: Path, reference: Synthetic, capfd: Any
) -> None:
    Synthetic(tmp_path / "runs", recipe="short8", changes={"recipe.lr": 0.05}).add("plain20", 9, 0.3, 0.35)
    with pytest.raises(UserError, match="1 of 1 runs outside of what is normal"):
        checked(here)
    printed = capfd.readouterr().out
    assert "seed9: OUTSIDE, " in printed
    assert "not the same: recipe.lr 0.05 instead of 0.1" in printed
    assert re.search(r"training error after 8,000 iterations (29|30)\.\d\d%, expected \d", printed)


def test_a_run_that_never_gets_far_is_compared_where_it_has_been(
    here: Here, tmp_path: Path, reference: Synthetic
) -> None:
    runs = Synthetic(tmp_path / "runs", recipe="short8")
    runs.add("plain20", 8, 0.112, 0.1415, state=INTERRUPTED)
    printed = checked(here)
    assert "seed8: normal, 7 of 7 values inside" in printed
    assert "interrupted at iteration 4,000 of 8,000" in printed


def test_the_reference_itself_is_recognised(here: Here, tmp_path: Path, reference: Synthetic) -> None:
    shutil.copytree(tmp_path / "results" / "figure1", tmp_path / "runs")
    assert checked(here).count("bit for bit the curve of the reference figure1/") == 4


def test_the_references_can_be_checked_against_each_other(here: Here, tmp_path: Path, reference: Synthetic) -> None:
    printed = here("check", "runs=results/figure1/cifar10/short8/plain20/seed0", "reference=results")
    assert "normal, 11 of 11 values inside\n  compared with 3 reference seeds (1, 2 and 3)" in printed


def test_too_few_seeds_and_another_recipe_than_the_papers_cannot_be_judged(
    here: Here, tmp_path: Path, reference: Synthetic
) -> None:
    shutil.rmtree(tmp_path / "results/figure1/cifar10/short8/plain20/seed3")
    shutil.rmtree(tmp_path / "results/figure1/cifar10/short8/plain20/seed2")
    Synthetic(tmp_path / "runs", recipe="short8").add("plain20", 9, 0.3, 0.35)
    why = "cannot be judged\n  2 finished reference seeds of plain20 cifar10 short8; 3 are needed, and the paper"
    assert why in checked(here)


def test_without_reference_seeds_the_papers_recipe_is_held_against_the_paper(
    here: Here, tmp_path: Path, capfd: Any
) -> None:
    shutil.rmtree(tmp_path / "results", ignore_errors=True)
    (tmp_path / "results").mkdir()
    Synthetic(tmp_path / "results").add("plain20", 1)
    runs = Synthetic(tmp_path / "runs")
    for network in ("plain20", "plain56", "resnet20", "resnet110"):
        runs.add(network)
    printed = checked(here)
    assert "plain20/seed0: normal, 3 of 3 values inside\n  compared with the paper" in printed
    assert printed.count(": normal, ") == 4
    Synthetic(tmp_path / "runs", changes={"recipe.lr": 0.05}).add("plain56", 0, 0.12, 0.16)
    with pytest.raises(UserError, match="1 of 5 runs outside"):
        checked(here)
    assert "not the same: paper+lr0.05" in capfd.readouterr().out


@pytest.mark.parametrize("name", sorted(paper.REPRODUCED))
def test_what_others_got_lies_in_the_papers_band(name: str) -> None:
    low, high = paper.band("test", paper.TEST_ERROR[name], paper.REPRODUCED[name])
    assert low < paper.REPRODUCED[name][0] <= paper.REPRODUCED[name][1] < high
    assert low < paper.TEST_ERROR[name].error < high


def test_a_bound_is_a_band_with_an_open_side() -> None:
    assert paper.band("training", paper.TRAIN_ERROR["plain110"], None) == (pytest.approx(0.54), 1.0)
    assert paper.band("training", paper.TRAIN_ERROR["resnet1202"], None) == (0.0, pytest.approx(0.007))


def test_a_folder_of_references_without_runs_is_named(here: Here, tmp_path: Path) -> None:
    Synthetic(tmp_path / "runs", recipe="short8").add("plain20")
    with pytest.raises(UserError, match=r"reference=nowhere: no runs there; .* results/ folder of a checkout"):
        here("check", "reference=nowhere")

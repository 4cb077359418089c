"""`hydra/sweeper=optuna`: Optuna chooses the runs, and learns their final running training errors."""

import json
import sqlite3
from pathlib import Path

import pytest
import yaml
from conftest import TINY, Here

from resexp.errors import UserError

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs resexp[optuna]")
pytestmark = pytest.mark.filterwarnings("ignore:Deprecated API features detected")  # SQLAlchemy's, of Optuna 2

FIXED = [word for word in TINY if "batch_size" not in word]
SEARCH = ("train", "-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler.seed=0", *FIXED)


def errors(folder: Path) -> list[float]:
    return [json.loads(path.read_text())["final"]["running_error"] for path in folder.rglob("run.json")]


def test_the_best_run_is_told_and_the_same_command_goes_on(here: Here, tmp_path: Path) -> None:
    search = (*SEARCH, "recipe.batch_size=20", "recipe.lr=interval(0.001,0.1)")
    printed = here(*search)
    assert printed.count("  finished, training error") == 2
    best = yaml.safe_load((tmp_path / "runs" / "optimization_results.yaml").read_text())
    assert best["best_value"] == min(errors(tmp_path))
    assert f"best: recipe.lr={best['best_params']['recipe.lr']}, running training error " in printed
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("history.csv")}
    here(*search, "hydra.sweeper.n_trials=3")
    assert len(errors(tmp_path)) == 3
    assert written == {path: path.stat().st_mtime_ns for path in written}, "not trained again"


def test_a_trial_that_fails_is_a_failed_trial_and_the_study_goes_on(here: Here, tmp_path: Path) -> None:
    study = ("hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.study_name=mine")
    printed = here(*SEARCH, "recipe.batch_size=97,20", *study)
    assert "failed: recipe.batch_size=97: larger than the training set" in printed
    assert "best: recipe.batch_size=20, " in printed
    with sqlite3.connect(tmp_path / "study.db") as database:
        assert sorted(state for (state,) in database.execute("SELECT state FROM trials")) == ["COMPLETE", "FAIL"]
    with pytest.raises(UserError, match="hydra/sweeper=optuna: No trials are completed yet"):
        here(*SEARCH, "recipe.batch_size=97,98")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("hydra/sweeper=optuna",), "hydra/sweeper=optuna: a sweeper takes the runs of a sweep; add -m"),
        (("-m", "hydra/sweeper=optuna", "plan=true"), "plan=true: Optuna chooses runs by the errors of those before"),
        (("-m", "hydra/sweeper=optuna", "hydra/launcher=streams"), "hydra/launcher=streams: Optuna has its runs one"),
    ],
)
def test_what_does_not_go_with_a_search_is_refused(
    here: Here, tmp_path: Path, words: tuple[str, ...], line: str
) -> None:
    with pytest.raises(UserError, match=line):
        here("train", *TINY, *words)
    assert not list(tmp_path.iterdir())

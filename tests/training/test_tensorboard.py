"""What TensorBoard shows of a run: every measured value once, and its settings."""

from pathlib import Path
from typing import cast

import pytest
from conftest import TINY
from faulty import points
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import metadata

from resexp.config.compose import compose
from resexp.storage import history
from resexp.storage.run import Run
from resexp.training.tensorboard import TAGS, Mirror
from resexp.training.train import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(runs: Path) -> Run:
    config = compose(*TINY, "model=plain20", f"runs={runs}")
    train(config)
    return Run(config.directory)


def test_every_measured_value_is_a_point(run: Run) -> None:
    rows = run.rows(run.record())
    for tag, column in TAGS.items():
        expected = [(row.iteration, getattr(row, column)) for row in rows if getattr(row, column) is not None]
        assert points(run.directory, tag) == [(step, pytest.approx(value)) for step, value in expected]
    assert [step for step, _ in points(run.directory, "images_per_second")] == [row.iteration for row in rows]


def test_runs_are_overlaid_under_names_that_say_what_they_are(run: Run, runs: Path) -> None:
    reader = EventMultiplexer().AddRunsFromDirectory(str(runs))
    reader.Reload()
    (name,) = reader.Runs()
    assert name == str(run.directory.relative_to(runs))
    assert name.startswith("shapes/quick/plain20")
    assert name.endswith("seed0")


def test_a_view_made_anew_replaces_the_old_points_for_a_reader_that_has_seen_them(tmp_path: Path) -> None:
    def row(iteration: int, error: float) -> history.Row:
        return history.Row(iteration, 0.1, 0.1, 1.0, error)

    first = Mirror(tmp_path, [], {})
    for iteration in (10, 20, 30):
        first.add(row(iteration, 0.9), 5.0)
    reader = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0})
    reader.Reload()
    assert len(reader.Scalars("error/train")) == 3
    second = Mirror(tmp_path, [row(10, 0.9)], {10: 5.0})
    second.add(row(20, 0.8), 5.0)
    reader.Reload()
    shown = [(event.step, event.value) for event in reader.Scalars("error/train")]
    assert shown == points(tmp_path, "error/train") == [(10, pytest.approx(0.9)), (20, pytest.approx(0.8))]


def test_settings_are_in_the_hparams_tab_without_a_run_or_point_of_their_own(run: Run, runs: Path) -> None:
    events = EventAccumulator(str(run.directory))
    events.Reload()
    content = events.PluginTagToContent(metadata.PLUGIN_NAME)
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["model.name"].string_value == "plain20"
    assert start.hparams["recipe.batch_size"].number_value == 20
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    named = {info.name.tag for info in experiment.metric_infos}
    assert named == {"error/train", "error/test", "error/clean_train"}
    assert named <= set(cast("list[str]", events.Tags()["scalars"]))
    assert len([path for path in runs.rglob("*") if "tfevents" in path.name]) == 1

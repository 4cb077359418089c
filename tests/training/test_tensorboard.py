"""What TensorBoard shows of a run: every measured value once, and its settings."""

from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
import torch
import yaml
from conftest import TINY
from faulty import interrupt, points
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.hparams import metadata as hparams

from resexp.config.compose import compose
from resexp.data.load import load
from resexp.model.network import blocks_of
from resexp.storage import history
from resexp.storage.run import Run
from resexp.training.device import prepare
from resexp.training.tensorboard import GRADIENTS, TAGS, Mirror
from resexp.training.train import train
from resexp.training.trainer import Trainer


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


def test_gradients_of_first_and_last_block_are_those_of_a_rows_last_mini_batch_also_after_an_interruption(
    run: Run, tmp_path: Path
) -> None:
    config = compose(*TINY, "model=plain20", f"runs={tmp_path}")
    interrupt(config, 7)
    train(config)
    trainer = Trainer(config, load(config.data), prepare(config))
    for end, tag in enumerate(GRADIENTS):
        found = points(run.directory, tag)
        assert [step for step, _ in found] == [row.iteration for row in run.rows(run.record())]
        assert points(config.directory, tag) == found
        while trainer.iteration < 2:
            trainer.advance()
        block = [*blocks_of(trainer.network).values()][-end]
        gradients = [parameter.grad for parameter in block.parameters() if parameter.grad is not None]
        assert found[0][1] == pytest.approx(float(torch.cat([one.flatten() for one in gradients]).norm()))


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

    config = replace(compose(*TINY), directory=tmp_path)
    first = Mirror(config, [], {}, {})
    for iteration in (10, 20, 30):
        first.add(row(iteration, 0.9))
    reader = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0})
    reader.Reload()
    assert len(reader.Scalars("error/train")) == 3
    second = Mirror(config, [row(10, 0.9)], {}, {})
    second.add(row(20, 0.8))
    reader.Reload()
    shown = [(event.step, event.value) for event in reader.Scalars("error/train")]
    assert shown == points(tmp_path, "error/train") == [(10, pytest.approx(0.9)), (20, pytest.approx(0.8))]


def content(directory: Path, plugin: str) -> dict[str, bytes]:
    """What a plugin of TensorBoard finds in a run, by tag."""
    events = EventAccumulator(str(directory))
    events.Reload()
    return events.PluginTagToContent(plugin)


def test_hparams_are_what_names_a_run_and_tensorboard_finds_what_differs(run: Run, runs: Path) -> None:
    found = content(run.directory, hparams.PLUGIN_NAME)
    start = hparams.parse_session_start_info_plugin_data(found.pop(hparams.SESSION_START_INFO_TAG))
    assert {name: value.string_value or value.number_value for name, value in start.hparams.items()} == {
        "network": "plain20",
        "family": "plain",
        "depth": 8,
        "seed": 0,
        "recipe": "shapes/quick",
        "overrides": run.directory.parent.name.removeprefix("plain20+"),
    }
    # A list of columns, which each run would write for itself, would keep TensorBoard from comparing the runs.
    assert found.keys() == {hparams.SESSION_END_INFO_TAG}
    assert len([path for path in runs.rglob("*") if "tfevents" in path.name]) == 1


def test_every_curve_is_explained_and_both_errors_share_a_chart(run: Run) -> None:
    events = EventAccumulator(str(run.directory))
    events.Reload()
    for tag in (*TAGS, *GRADIENTS, "images_per_second"):
        metadata = events.SummaryMetadata(tag)
        assert len(metadata.summary_description) > 20
        assert metadata.data_class == DATA_CLASS_SCALAR, "else the loader that TensorBoard prefers drops it"
    (layout,) = events.Tensors("custom_scalars__config__")
    charts = [category.chart for category in Layout.FromString(layout.tensor_proto.string_val[0]).category]
    assert [list(chart.multiline.tag) for (chart,) in charts] == [["error/train", "error/test"], [*GRADIENTS]]


def test_the_text_tab_has_all_settings(run: Run) -> None:
    events = EventAccumulator(str(run.directory))
    events.Reload()
    (text,) = events.Tensors("settings/text_summary")
    assert yaml.safe_load(dedent(text.tensor_proto.string_val[0].decode())) == run.config()

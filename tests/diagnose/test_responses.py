"""Responses of layers of a known scale, taken before the ReLU and the addition."""

import pytest
import torch
from chains import chain, grey_images

from resexp.diagnose.responses import Spread, measure
from resexp.model.network import Network, initialise
from resexp.training.device import Execution
from resexp.training.evaluate import BATCH_SIZE

CPU = Execution(torch.device("cpu"), "fp32", 1)


def scaled(residual: bool, scale: float) -> Network:
    """Each batch norm multiplies by `scale`; the running statistics are those of no change."""
    network = chain(20, residual, 1.0, "batch")
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.weight, scale)
    return network


@pytest.mark.parametrize(("residual", "block"), [(False, 0.25), (True, 1.25)])
def test_each_response_has_the_scale_that_its_layers_give_it(residual: bool, block: float) -> None:
    images = grey_images()
    of_images = images.plain(0, 12)[0].std(correction=0).item()
    readings = [one for one in measure(scaled(residual, 0.5), images, CPU) if one.quantity == "response"]
    found = [reading.value / of_images for reading in readings]
    assert [reading.position for reading in readings] == list(range(1, 20))
    first = [0.5, 0.25, 0.125]
    stage = [*first, first[1] * block, first[2] * block, first[1] * block**2, first[2] * block**2]
    assert found[:7] == pytest.approx(stage, rel=1e-4)


def test_a_shift_that_is_the_same_everywhere_does_not_count() -> None:
    network, images = scaled(False, 0.5), grey_images()
    before = measure(network, images, CPU)[0].value
    torch.nn.init.constant_(network.stem[1].bias, 100.0)  # pyright: ignore[reportArgumentType]
    assert measure(network, images, CPU)[0].value == pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize("size", [1, 5])
def test_the_batch_size_changes_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(8, True)
    initialise(network, 0)
    whole = [reading.value for reading in measure(network, grey_images(), CPU)]
    monkeypatch.setitem(BATCH_SIZE, "cpu", size)
    assert [reading.value for reading in measure(network, grey_images(), CPU)] == pytest.approx(whole, rel=1e-4)


def test_batches_of_different_means_are_put_together_rightly() -> None:
    spread, values = Spread(), torch.tensor([1.0, 2.0, 30.0, 31.0, 35.0])
    spread.add(values[:2])
    spread.add(values[2:])
    assert spread.deviation == pytest.approx(values.std(correction=0).item(), rel=1e-6)


@pytest.mark.parametrize("residual", [False, True])
def test_a_channel_that_no_image_switches_on_is_dead_and_a_sum_is_not(residual: bool) -> None:
    """Three of the 16 channels of a layer are pushed below zero; a second layer of a residual block is added first."""
    network = Network(8, residual)
    initialise(network, 0)
    weights = network.state_dict()
    for norm in ("stem.1", "stages.0.0.norm1", "stages.0.0.norm2"):
        weights[f"{norm}.bias"][:3] = -1000.0
    readings = measure(network, grey_images(), CPU)
    dead = {one.name: one.value for one in readings if one.quantity == "dead"}
    assert dead["stem"] == dead["stages.0.0.conv1"] == 3 / 16
    assert dead.get("stages.0.0.conv2") == (None if residual else 3 / 16)
    assert dead["stages.1.0.conv1"] == 0
    places = {one.name: one.position for one in readings if one.quantity == "response"}
    assert all(one.position == places[one.name] for one in readings)

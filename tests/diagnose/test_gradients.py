"""Gradients of chains that multiply them by a known factor."""

import math

import pytest
import torch
from chains import chain, grey_images
from torch.nn import functional

from resexp.diagnose.gradients import measure, norm, scale_weights
from resexp.diagnose.table import Reading
from resexp.model.network import Network, initialise

WITHIN_STAGES = [(0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8)]
"""Neighbours, in a network of 20 layers, between which the shape does not change."""


def values(readings: list[Reading], quantity: str) -> list[float]:
    return [reading.value for reading in readings if reading.quantity == quantity]


@pytest.mark.parametrize(("residual", "gain"), [(False, 0.5), (False, 2.0), (True, 0.5)])
def test_each_block_multiplies_the_gradient_by_what_it_multiplies_its_input_by(residual: bool, gain: float) -> None:
    images, labels = grey_images().plain(0, 12)
    found = values(measure(chain(20, residual, gain), images, labels), "output_gradient")
    assert len(found) == 9
    for before, after in WITHIN_STAGES:
        assert found[before] / found[after] == pytest.approx(gain + residual, rel=1e-4)


@pytest.mark.parametrize(("residual", "factor"), [(False, 0.25), (True, 1.25)])
def test_scaled_weights_scale_what_a_block_multiplies_the_gradient_by(residual: bool, factor: float) -> None:
    network = chain(20, residual, 1.0)
    head = network.head.weight.clone()
    scale_weights(network, 0.5)
    assert torch.equal(network.head.weight, head)
    found = values(measure(network, *grey_images().plain(0, 12)), "output_gradient")
    for before, after in WITHIN_STAGES:
        assert found[before] / found[after] == pytest.approx(factor, rel=1e-4)


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_norms_keep_float64s_range(size: float) -> None:
    assert norm(size * torch.tensor([3.0, 4.0], dtype=torch.float64)) == pytest.approx(5 * size)
    assert norm(torch.zeros(2)) == norm(None) == 0
    assert math.isnan(norm(torch.tensor([math.nan, 1.0])))


def test_float64_carries_gradients_that_fp32_loses() -> None:
    network = chain(56, False, 1.0)
    scale_weights(network, 0.1)
    images, labels = grey_images().plain(0, 12)
    single = values(measure(network, images, labels), "output_gradient")
    double = values(measure(network.double(), images.double(), labels), "output_gradient")
    assert single[0] == 0
    assert double[1] / double[5] == pytest.approx(1e-8)


def test_a_shortcut_alone_leaves_the_gradient_as_it_is() -> None:
    first, second, third, *_ = values(measure(chain(20, True, 0.0), *grey_images().plain(0, 12)), "output_gradient")
    assert first == pytest.approx(second, rel=1e-5) == pytest.approx(third, rel=1e-5)


def test_weight_gradients_are_those_of_the_mean_loss() -> None:
    network = Network(8, True)
    initialise(network, 0)
    images, labels = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(6)
    readings = measure(network, images, labels)
    functional.cross_entropy(network.train()(images), labels).backward()
    weights = [parameter for name, parameter in network.named_parameters() if name.endswith("weight")]
    layers = [weight for weight in weights if weight.dim() > 1]
    gradients = [weight.grad.norm().item() for weight in layers if weight.grad is not None]
    norms = [weight.norm().item() for weight in layers]
    assert values(readings, "weight_gradient") == pytest.approx(gradients, rel=1e-4)
    assert values(readings, "weight") == pytest.approx(norms, rel=1e-5)
    ratios = [gradient / norm for gradient, norm in zip(gradients, norms, strict=True)]
    assert values(readings, "relative_gradient") == pytest.approx(ratios, rel=1e-4)
    assert [reading.name for reading in readings if reading.quantity == "weight"][-1] == "head"
    assert len(layers) == 8


@pytest.mark.parametrize(("quantity", "count"), [("weight", 20), ("weight_gradient", 20), ("output_gradient", 9)])
def test_layers_and_blocks_are_counted_from_one(quantity: str, count: int) -> None:
    readings = measure(chain(20, False, 1.0), *grey_images().plain(0, 12))
    assert [reading.position for reading in readings if reading.quantity == quantity] == list(range(1, count + 1))

"""Networks without some of their blocks: a block that is the identity is not missed."""

import pytest
import torch
from chains import chain, grey_images
from torch import Tensor, nn

from resexp.diagnose.lesions import measure, residual_ratio, without
from resexp.diagnose.table import NEAR, Reading
from resexp.model.network import Network, blocks_of, initialise
from resexp.training.device import Execution
from resexp.training.evaluate import evaluate

CPU = Execution(torch.device("cpu"), "fp32", 1)
KEEPS_ITS_SHAPE = [0, 1, 2, 4, 5, 7, 8]


@pytest.fixture
def random() -> Network:
    network = Network(20, True)
    initialise(network, 0)
    return network.eval()


def images(network: nn.Module) -> Tensor:
    return network(grey_images().plain(0, 12)[0])


def named(readings: list[Reading], quantity: str) -> dict[str, float]:
    return {reading.name: reading.value for reading in readings if reading.quantity == quantity}


def test_a_block_with_zero_weights_is_the_identity_and_is_not_missed(random: Network) -> None:
    names = list(blocks_of(random))
    (*_, (_, _, norm)) = blocks_of(random)[names[4]].layers
    nn.init.zeros_(norm.weight)  # pyright: ignore[reportArgumentType]
    readings = measure(random, grey_images(), CPU, 0)
    assert named(readings, "residual_ratio")[names[4]] == 0
    assert min(ratio for name, ratio in named(readings, "residual_ratio").items() if name != names[4]) > 0
    assert named(readings, "error_without_one")[names[4]] == named(readings, "error")["whole"]
    assert torch.equal(images(without(random, [names[4]])), images(random))
    assert not torch.allclose(images(without(random, [names[5]])), images(random))


@pytest.mark.parametrize("gain", [0.05, 0.5])
def test_all_blocks_near_the_identity_are_removed_together(gain: float) -> None:
    network = chain(20, True, gain).eval()
    readings = measure(network, grey_images(), CPU, 0)
    (near,) = [reading for reading in readings if reading.quantity == "error_without_near"]
    names = [name for name, ratio in named(readings, "residual_ratio").items() if ratio < NEAR]
    assert near.position == len(names) == (9 if gain < NEAR else 0)
    assert near.value == evaluate(without(network, names), grey_images(), CPU)[1]


@pytest.mark.parametrize(
    ("residual", "gain", "ratio"), [(True, 0.5, 0.5), (True, 2.0, 2.0), (False, 1.0, 0.0), (False, 3.0, 2.0)]
)
def test_what_a_block_adds_is_measured_against_its_shortcut(residual: bool, gain: float, ratio: float) -> None:
    network = chain(20, residual, gain)
    found = list(residual_ratio(network, grey_images(), CPU).values())
    assert [found[block] for block in KEEPS_ITS_SHAPE] == pytest.approx([ratio] * 7, rel=1e-4, abs=1e-6)


def test_a_plain_block_that_is_the_identity_is_not_missed_either() -> None:
    network = chain(20, False, 1.0).eval()
    names = list(blocks_of(network))
    lesioned = without(network, [names[block] for block in KEEPS_ITS_SHAPE])
    assert torch.equal(images(lesioned), images(network))


@pytest.mark.parametrize("residual", [True, False])
def test_without_all_blocks_only_stem_subsampling_and_head_are_left(residual: bool) -> None:
    network = Network(8, residual)
    initialise(network, 0)
    network.eval()
    x = network.stem(grey_images().plain(0, 12)[0])
    x = nn.functional.pad(x[:, :, ::4, ::4], (0, 0, 0, 0, 24, 24))
    expected = network.head(x)
    assert torch.allclose(images(without(network, list(blocks_of(network)))), expected, atol=1e-6)


def test_prefixes_grow_by_one_block_in_an_order_of_the_seed(random: Network) -> None:
    readings = measure(random, grey_images(), CPU, 0)
    for quantity in ("error_without_one", "error_without_several", "residual_ratio"):
        positions = [reading.position for reading in readings if reading.quantity == quantity]
        assert positions == list(range(1, len(blocks_of(random)) + 1))
    order = list(named(readings, "error_without_several"))
    assert sorted(order) == sorted(blocks_of(random))
    assert order != sorted(order)
    assert order != list(named(measure(random, grey_images(), CPU, 1), "error_without_several"))
    first = named(readings, "error_without_several")[order[0]]
    assert first == named(readings, "error_without_one")[order[0]]

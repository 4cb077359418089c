"""The error of a network on a whole set, and that measuring it leaves the network as it was."""

import pytest
import torch
from torch.nn import functional

from resexp.data.batches import Images, mean_image
from resexp.data.dataset import Split
from resexp.model.network import Network, initialise
from resexp.training.device import Execution
from resexp.training.evaluate import BATCH_SIZE, evaluate

CPU = Execution(torch.device("cpu"), "fp32", 1)


@pytest.fixture
def network() -> Network:
    """A network whose batch norm has seen something other than what it starts from."""
    network = Network(8, True)
    initialise(network, 0)
    with torch.no_grad():
        network(torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1)))
    return network


def random_images(count: int, size: int) -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, size, size), generator=generator).to(torch.uint8)
    split = Split(pixels, torch.randint(10, (count,), generator=generator))
    return Images.of(split, mean_image(split), 2, torch.device("cpu"))


@pytest.mark.parametrize("batch_size", [1, 5, 23, 1000])
def test_loss_and_error_are_the_means_over_all_images_whatever_the_batch_size(
    network: Network, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = random_images(23, 8)
    monkeypatch.setitem(BATCH_SIZE, "cpu", batch_size)
    loss, error = evaluate(network, images, CPU)
    with torch.no_grad():
        pixels, labels = images.plain(0, 23)
        scores = network.eval()(pixels)
    assert loss == pytest.approx(functional.cross_entropy(scores, labels).item(), rel=1e-5)
    assert error == int((scores.argmax(1) != labels).sum()) / 23
    assert 0 < error < 1


@pytest.mark.parametrize("training", [True, False])
def test_weights_statistics_and_mode_stay_as_they_were(network: Network, training: bool) -> None:
    network.train(training)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    evaluate(network, random_images(23, 8), CPU)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert {module.training for module in network.modules()} == {training}
    assert all(parameter.grad is None for parameter in network.parameters())


def test_larger_images_are_evaluated_fewer_at_a_time(network: Network) -> None:
    counts: list[int] = []
    network.register_forward_pre_hook(lambda _, inputs: counts.append(len(inputs[0])))
    evaluate(network, random_images(300, 64), CPU)
    assert counts == [125, 125, 50]

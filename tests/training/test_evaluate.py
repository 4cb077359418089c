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


@pytest.fixture(scope="module")
def images() -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (23, 3, 8, 8), generator=generator).to(torch.uint8)
    split = Split(pixels, torch.randint(10, (23,), generator=generator))
    return Images.of(split, mean_image(split), 2, torch.device("cpu"))


def test_loss_and_error_are_the_means_over_all_images(network: Network, images: Images) -> None:
    loss, error = evaluate(network, images, CPU)
    with torch.no_grad():
        pixels, labels = images.plain(0, 23)
        scores = network.eval()(pixels)
    assert loss == pytest.approx(functional.cross_entropy(scores, labels).item(), rel=1e-5)
    assert error == int((scores.argmax(1) != labels).sum()) / 23
    assert 0 < error < 1


@pytest.mark.parametrize("size", [1, 5, 23])
def test_the_batch_size_changes_nothing(
    network: Network, images: Images, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, error = evaluate(network, images, CPU)
    monkeypatch.setitem(BATCH_SIZE, "cpu", size)
    assert evaluate(network, images, CPU) == (pytest.approx(loss, rel=1e-5), error)


@pytest.mark.parametrize("training", [True, False])
def test_weights_statistics_and_mode_stay_as_they_were(network: Network, images: Images, training: bool) -> None:
    network.train(training)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    evaluate(network, images, CPU)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert {module.training for module in network.modules()} == {training}
    assert all(parameter.grad is None for parameter in network.parameters())


def test_larger_images_are_evaluated_fewer_at_a_time(network: Network) -> None:
    pixels = torch.zeros(300, 3, 64, 64, dtype=torch.uint8)
    split = Split(pixels, torch.zeros(300, dtype=torch.int64))
    seen: list[int] = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    evaluate(network, Images.of(split, mean_image(split), 2, torch.device("cpu")), CPU)
    assert seen == [125, 125, 50]

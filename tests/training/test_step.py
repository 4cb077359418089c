"""One training iteration, against textbook SGD, and what a resumed one needs to continue bit for bit."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close

from resexp.config.compose import compose
from resexp.config.settings import RecipeConfig
from resexp.model.network import BatchNorm, Network, initialise
from resexp.storage.checkpoint import load, save
from resexp.training.device import Execution
from resexp.training.step import Step

CPU = Execution(torch.device("cpu"), "fp32", 1)
RATES = (0.1, 0.1, 0.01, 0.01)


@pytest.fixture(scope="module")
def recipe() -> RecipeConfig:
    """The paper's momentum, and a weight decay that shows after one iteration."""
    return replace(compose("recipe=paper").recipe, weight_decay=0.05)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny(seed: int = 0) -> Network:
    network = Network(8, True)
    initialise(network, seed)
    return network


def batch(number: int, size: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    return torch.randn(size, 3, 8, 8, generator=generator), torch.randint(10, (size,), generator=generator)


def stepper(network: nn.Module, recipe: RecipeConfig, precision: str = "fp32") -> Step:
    return Step(network, recipe, replace(CPU, precision=precision))


def test_all_counters_of_batches_and_all_weights_are_changed_by_one_operation_each(recipe: RecipeConfig) -> None:
    network = tiny()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        stepper(network, recipe)(*batch(0), 0.1)
    times = {operation.key: operation.count for operation in profiler.key_averages()}
    assert times["aten::_foreach_add_"] == times["aten::_fused_sgd_"] == 1
    assert {int(norm.num_batches_tracked or 0) for norm in network.modules() if isinstance(norm, BatchNorm)} == {1}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_updates_are_textbook_sgd_with_momentum_and_weight_decay(recipe: RecipeConfig, momentum: float) -> None:
    network, textbook = tiny(), tiny()
    step = stepper(network, replace(recipe, momentum=momentum))
    optimizer = torch.optim.SGD(textbook.parameters(), lr=1.0, momentum=momentum, weight_decay=0.05, foreach=False)
    for number, rate in enumerate(RATES):
        images, labels = batch(number)
        loss, _ = step(images, labels, rate)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        expected = functional.cross_entropy(textbook(images), labels)
        expected.backward()
        optimizer.step()
        for norm in textbook.modules():
            if isinstance(norm, BatchNorm):  # PyTorch's own counts by itself
                assert norm.num_batches_tracked is not None
                norm.num_batches_tracked += 1
        assert_close(loss, expected.detach(), rtol=1e-5, atol=1e-6)
    assert_close(network.state_dict(), textbook.state_dict(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_updates_are_those_of_pytorch_to_the_bit(recipe: RecipeConfig, momentum: float, precision: str) -> None:
    step, theirs = stepper(tiny(), replace(recipe, momentum=momentum), precision), tiny()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=1.0, momentum=momentum, weight_decay=0.05, fused=True)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")
    for number, rate in enumerate(3 * RATES):
        images, labels = batch(number)
        if scaler.is_enabled() and number == 4:  # overflows; one in their first step would spoil their momentum
            for one in (step.scaler, scaler):
                one.load_state_dict(scaler.state_dict() | {"scale": 2.0**24})
        step(images, labels, rate)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        with step.execution.autocast():
            loss = functional.cross_entropy(theirs(images).float(), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        for ours, other in zip(step.optimizer.parameters, theirs.parameters(), strict=True):
            assert torch.equal(ours, other)
        assert scaler.state_dict() == step.scaler.state_dict()
    for ours, other in zip(step.optimizer.momentum, theirs.parameters(), strict=False):
        assert torch.equal(ours, optimizer.state[other]["momentum_buffer"])
    assert step.scaler.get_scale() < 2.0**24


def test_loss_and_wrong_answers_are_those_before_the_update(recipe: RecipeConfig) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 3, bias=False))
    network[1].weight.data = torch.eye(3)  # scores are the pixels
    images = torch.tensor([[5.0, 0, 0], [0, 5, 0], [0, 0, 5], [5, 0, 0]])[:, :, None, None]
    labels = torch.tensor([0, 1, 2, 2])
    loss, wrong = stepper(network, recipe)(images, labels, 10.0)
    assert wrong.item() == 1
    assert_close(loss, functional.cross_entropy(images.flatten(1), labels))
    assert not loss.requires_grad


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_restored_state_continues_bit_for_bit(recipe: RecipeConfig, momentum: float, tmp_path: Path) -> None:
    recipe = replace(recipe, momentum=momentum)
    undisturbed = stepper(tiny(), recipe)
    for number in range(2):
        undisturbed(*batch(number), 0.1)
    save(undisturbed.state(), tmp_path / "checkpoint.pt")
    resumed = stepper(tiny(seed=1), recipe)
    resumed.load_state(load(tmp_path / "checkpoint.pt"))
    for number in range(2, 4):
        one, other = undisturbed(*batch(number), 0.01), resumed(*batch(number), 0.01)
        assert torch.equal(one[0], other[0])
    assert_close(resumed.state(), undisturbed.state(), rtol=0, atol=0)


def test_restoring_a_state_leaves_every_tensor_in_its_place(recipe: RecipeConfig) -> None:
    source, target = stepper(tiny(), recipe), stepper(tiny(seed=1), recipe)
    source(*batch(0), 0.1)

    def places(step: Step) -> list[int]:
        return [tensor.data_ptr() for tensor in (*step.network.state_dict().values(), *step.state()["momentum"])]

    before = places(target)
    target.load_state(source.state())
    assert places(target) == before
    assert set(before).isdisjoint(places(source))


def test_bf16_is_close_to_fp32_and_keeps_its_weights_in_fp32(recipe: RecipeConfig) -> None:
    full, half = tiny(), tiny()
    images, labels = batch(0)
    expected, _ = stepper(full, recipe)(images, labels, 0.01)
    loss, _ = stepper(half, recipe, "bf16")(images, labels, 0.01)
    assert loss.dtype == torch.float32
    assert loss.item() != expected.item()
    assert_close(loss, expected, rtol=0.02, atol=0)
    for ours, theirs in zip(half.parameters(), full.parameters(), strict=True):
        assert ours.dtype == torch.float32
        assert_close(ours, theirs, rtol=0, atol=0.02)

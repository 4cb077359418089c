"""A deeper network built from a shallower one computes the same, bit for bit on a CPU."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from chains import grey_images
from torch import Tensor, nn

from resexp.config.settings import ModelConfig
from resexp.data.batches import Images
from resexp.diagnose import gradients, lesions, responses
from resexp.diagnose.construction import deepen, deviation, invertible, measure
from resexp.model.network import Network, blocks_of, build
from resexp.training.device import Execution

CPU = Execution(torch.device("cpu"), "fp32", 1)
KINDS = [(False, "A"), (True, "A"), (True, "B"), (True, "C")]
PAIRS = [(8, 14), (8, 20), (14, 26)]


def model(depth: int, residual: bool, option: str, width: int = 1, norm: str = "batch") -> ModelConfig:
    return ModelConfig("any", depth, residual, option, width, norm)


def as_if_trained(config: ModelConfig, images: Images) -> Network:
    """Random weights, scales and shifts; the statistics are those of the images themselves."""
    network = build(config, 3, 10, CPU.device)
    generator = torch.Generator().manual_seed(4)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.3, 1.5, generator)
        nn.init.uniform_(norm.bias, -0.5, 0.5, generator)
        norm.momentum = 1.0
    scores(network, images)
    for norm in norms:
        norm.momentum = 0.1
    return network.eval()


@torch.no_grad()
def scores(network: nn.Module, images: Images) -> Tensor:
    return network(images.plain(0, len(images))[0])


def built_from(shallow: Network, config: ModelConfig, images: Images) -> Network:
    return deepen(shallow, config, 7, images, CPU)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize(("norm", "width"), [("batch", 1), ("batch", 2), ("none", 1)])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_scores_and_errors_are_those_of_the_shallower_network(
    kind: tuple[bool, str], norm: str, width: int, pair: tuple[int, int]
) -> None:
    images = grey_images()
    shallow = as_if_trained(model(pair[0], *kind, width, norm), images)
    deep = built_from(shallow, model(pair[1], *kind, width, norm), images)
    assert len(blocks_of(deep)) == (pair[1] - 2) // 2
    assert torch.equal(scores(deep, images), scores(shallow, images))
    other = grey_images(20)
    assert measure(deep, images, other, CPU) == measure(shallow, images, other, CPU)


@pytest.mark.parametrize(("skip", "pair"), [(1, (8, 14)), (3, (20, 38))])
@pytest.mark.parametrize("option", ["A", "C"])
def test_blocks_of_another_number_of_layers_are_added_too(option: str, skip: int, pair: tuple[int, int]) -> None:
    images = grey_images()
    shallow, deep = (replace(model(depth, True, option), skip=skip) for depth in pair)
    built = built_from(trained := as_if_trained(shallow, images), deep, images)
    assert torch.equal(scores(built, images), scores(trained, images))


def test_added_residual_blocks_are_the_identity_and_the_others_are_kept() -> None:
    images = grey_images()
    shallow = as_if_trained(model(14, True, "B"), images)
    deep = built_from(shallow, model(20, True, "B"), images)
    added = [name for name, ratio in lesions.residual_ratio(deep, images, CPU).items() if ratio == 0]
    assert added == ["stages.0.2", "stages.1.2", "stages.2.2"]
    for name, block in blocks_of(shallow).items():
        copied = blocks_of(deep)[name].state_dict()
        assert all(torch.equal(value, copied[key]) for key, value in block.state_dict().items())


@pytest.mark.parametrize("option", ["A", "B"])
def test_a_zero_branch_holds_in_training_mode_too(option: str) -> None:
    images = grey_images()
    shallow = as_if_trained(model(8, True, option), images)
    deep = built_from(shallow, model(20, True, option), images)
    assert torch.equal(scores(deep.train(), images), scores(shallow.train(), images))


@pytest.mark.parametrize("kind", [(False, "A"), (True, "C")], ids=str)
def test_identities_with_batch_norm_hold_in_training_mode_where_a_mini_batch_is_like_the_whole_set(
    kind: tuple[bool, str],
) -> None:
    images = grey_images(24)
    shallow = as_if_trained(model(8, *kind), images)
    deep = built_from(shallow, model(26, *kind), images)
    expected = scores(shallow.train(), images)
    changed = (scores(deep.train(), images) - expected).abs().max()
    assert changed < 0.02 * (expected.max() - expected.min())


def test_every_added_branch_learns_from_the_first_step_on() -> None:
    images = grey_images()
    deep = built_from(as_if_trained(model(8, True, "A"), images), model(14, True, "A"), images).train()
    nn.functional.cross_entropy(deep(images.plain(0, 12)[0]), images.labels).backward()
    for name in ("stages.0.1", "stages.1.1", "stages.2.1"):
        gradient = deep.get_parameter(f"{name}.norm2.weight").grad
        assert gradient is not None
        assert 0 < float(gradient.norm()) < float("inf")


def test_the_scale_of_an_identity_is_exactly_one_and_its_variance_hardly_changes() -> None:
    generator = torch.Generator().manual_seed(0)
    variance = torch.cat([torch.zeros(1), 10 ** (12 * torch.rand(20_000, generator=generator) - 9)])
    shifted = invertible(variance, 1e-5)
    root = deviation(shifted, 1e-5)
    assert bool((root * (1 / root) == 1).all())
    torch.testing.assert_close(shifted, variance, rtol=1e-3, atol=1e-8)
    assert bool((shifted != variance).any())
    norm = nn.BatchNorm2d(len(shifted)).eval()
    norm.running_var = shifted
    with torch.no_grad():
        norm.weight.copy_(root)
        x = torch.rand(2, len(shifted), 1, 1, generator=generator)
        assert torch.equal(norm(x), x)


MEASURES: dict[str, Callable[[Network, Images], object]] = {
    "gradients": lambda network, images: gradients.measure(network, *images.plain(0, 12)),
    "responses": lambda network, images: responses.measure(network, images, CPU),
    "lesions": lambda network, images: lesions.measure(network, images, CPU, 0),
    "construction": lambda network, images: built_from(network, model(14, True, "C"), images),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("diagnosis", MEASURES)
def test_no_diagnosis_changes_the_network(diagnosis: str, training: bool) -> None:
    images = grey_images()
    network = as_if_trained(model(8, True, "C"), images).train(training)
    before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    MEASURES[diagnosis](network, images)
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    for module in network.modules():
        assert module.training == training
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    if diagnosis != "construction":  # which makes a network, and with it draws
        assert torch.equal(torch.get_rng_state(), random)

"""The networks of the paper: their size, shape and shortcuts, and the weights that training starts from."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.datasets import CIFAR10

from resexp.config.settings import ModelConfig
from resexp.model.network import Block, Network, SubsampleAndPad, build, initialise

PARAMETERS = {
    20: (269_722, 272_474, 283_962),
    32: (464_154, 466_906, 489_594),
    44: (658_586, 661_338, 695_226),
    56: (853_018, 855_770, 900_858),
    110: (1_727_962, 1_730_714, 1_826_202),
    1202: (19_421_274, 19_424_026, 20_538_714),
}
"""Depth -> trainable parameters of the plain network and of shortcut A, of B, and of C."""


def on_meta(
    depth: int, residual: bool = True, shortcut: str = "A", width: int = 1, norm: str = "batch", classes: int = 10
) -> Network:
    """A network without memory for its weights."""
    with torch.device("meta"):
        return Network(depth, residual, shortcut, width, norm, classes)


def initialised(seed: int = 0, residual: bool = True, shortcut: str = "A", norm: str = "batch") -> Network:
    network = Network(8, residual, shortcut, norm=norm)
    initialise(network, seed)
    return network


def trainable(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def with_zero_branch(block: Block) -> Block:
    """A block whose stacked layers give 0 whatever comes in."""
    assert isinstance(block.norm2, nn.BatchNorm2d)
    nn.init.zeros_(block.norm2.weight)
    nn.init.zeros_(block.norm2.bias)
    return block


@pytest.mark.parametrize("depth", PARAMETERS)
def test_parameters_are_the_papers(depth: int) -> None:
    a, b, c = PARAMETERS[depth]
    assert trainable(on_meta(depth, residual=False)) == a
    assert [trainable(on_meta(depth, shortcut=option)) for option in "ABC"] == [a, b, c]


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_depth_counts_the_weighted_layers(depth: int) -> None:
    network = on_meta(depth)
    assert len(convolutions(network)) + 1 == depth
    assert all(convolution.kernel_size == (3, 3) for convolution in convolutions(network))


@settings(deadline=None, max_examples=30)
@given(st.integers(-10, 60))
@example(2)
@example(-4)
def test_only_depths_of_6n_plus_2_can_be_built(depth: int) -> None:
    if depth in range(8, 61, 6):
        assert on_meta(depth).depth == depth
    else:
        with pytest.raises(ValueError, match=f"6n \\+ 2, not {depth}"):
            on_meta(depth)


@pytest.mark.parametrize("residual", [False, True])
def test_stages_halve_the_map_and_double_the_filters(residual: bool) -> None:
    network = on_meta(14, residual, classes=7)
    x = network.stem(torch.empty(2, 3, 32, 32, device="meta"))
    shapes = [x.shape[1:]]
    for stage in network.stages:
        x = stage(x)
        shapes.append(x.shape[1:])
    assert shapes == [(16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8)]
    assert network(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 7)


@settings(deadline=None, max_examples=20)
@given(st.integers(8, 40), st.sampled_from("ABC"))
def test_images_of_any_size_pass(size: int, shortcut: str) -> None:
    assert on_meta(8, shortcut=shortcut)(torch.empty(3, 3, size, size, device="meta")).shape == (3, 10)


def test_width_multiplies_the_filters() -> None:
    outputs = [convolution.out_channels for convolution in convolutions(on_meta(8, width=3))]
    assert outputs == [48, 48, 48, 96, 96, 192, 192]
    assert on_meta(8, width=3).head.in_features == 192


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_every_convolution_has_either_a_batch_norm_or_a_bias(norm: str) -> None:
    network = on_meta(8, shortcut="C", norm=norm)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == (len(convolutions(network)) if norm == "batch" else 0)
    assert all((convolution.bias is None) == (norm == "batch") for convolution in convolutions(network))


def test_a_residual_block_with_a_zero_branch_is_the_identity_on_what_is_not_negative() -> None:
    block = with_zero_branch(Block(4, 4, 1, True, "A", "batch"))
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x.abs()), x.abs())
    assert torch.equal(block(x), x.relu())


def test_a_plain_block_with_a_zero_branch_lets_nothing_through() -> None:
    block = with_zero_branch(Block(4, 4, 1, False, "A", "batch"))
    assert not block(torch.ones(2, 4, 5, 5)).any()


def test_a_residual_block_adds_before_the_last_relu() -> None:
    block = Block(4, 4, 1, True, "A", "batch")
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), (block.branch(x) + x).relu())


def test_a_branch_is_convolution_norm_relu_convolution_norm() -> None:
    block = Block(4, 4, 1, True, "A", "batch")
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block.branch(x), block.norm2(block.conv2(block.norm1(block.conv1(x)).relu())))


def test_option_a_takes_every_second_pixel_and_puts_new_channels_half_in_front_and_half_behind() -> None:
    x = torch.rand(2, 4, 6, 6)
    for out in (SubsampleAndPad(4, 2)(x), with_zero_branch(Block(4, 8, 2, True, "A", "batch"))(x)):
        assert torch.equal(out[:, 2:6], x[:, :, ::2, ::2])
        assert not out[:, :2].any()
        assert not out[:, 6:].any()


@pytest.mark.parametrize(("option", "projections"), [("A", 0), ("B", 2), ("C", 6)])
def test_options_differ_in_the_shortcuts_that_project(option: str, projections: int) -> None:
    kernels = [convolution.kernel_size for convolution in convolutions(on_meta(14, shortcut=option))]
    assert kernels.count((1, 1)) == projections


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("option", ["A", "B", "C"])
def test_plain_and_residual_networks_of_one_seed_start_from_equal_weights(option: str, norm: str) -> None:
    plain, residual = initialised(3, False, norm=norm).state_dict(), initialised(3, True, option, norm).state_dict()
    assert plain.keys() <= residual.keys()
    assert all(torch.equal(plain[key], residual[key]) for key in plain)


def test_other_seeds_give_other_weights_in_every_layer() -> None:
    one, other = initialised(0, shortcut="C"), initialised(1, shortcut="C")
    for a, b in zip([*convolutions(one), one.head], [*convolutions(other), other.head], strict=True):
        assert not torch.isclose(a.weight, b.weight, atol=1e-6).all()


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_initial_weights_and_the_global_generator_leave_each_other_alone(norm: str) -> None:
    states: list[dict[str, Tensor]] = []
    for global_seed in (1, 2):
        network = Network(8, True, "C", norm=norm)
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        initialise(network, 0)
        assert torch.equal(torch.get_rng_state(), before)
        states.append(network.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_convolutions_start_with_the_standard_deviation_of_he_for_their_fan_in() -> None:
    network = initialised(shortcut="C", norm="none")
    large = [convolution for convolution in convolutions(network) if convolution.weight.numel() > 1000]
    assert {convolution.kernel_size for convolution in large} == {(1, 1), (3, 3)}
    for convolution in large:
        fan_in = convolution.weight[0].numel()
        assert convolution.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.06)
        assert convolution.bias is not None
        assert not convolution.bias.any()


def test_the_head_starts_uniform_within_pytorchs_bound() -> None:
    head = initialised().head
    assert head.weight.abs().max().item() == pytest.approx(64**-0.5, rel=0.02)
    assert 0 < head.bias.abs().max().item() <= 64**-0.5


def test_the_head_may_start_like_the_convolutions_which_stay_as_they_are() -> None:
    network = Network(8, True)
    initialise(network, 0, linear="he")
    assert network.head.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.06)
    assert not network.head.bias.any()
    for one, other in zip(convolutions(network), convolutions(initialised()), strict=True):
        assert torch.equal(one.weight, other.weight)


def test_a_built_network_has_the_weights_of_its_seed_in_channels_last_layout() -> None:
    model = ModelConfig("tiny", 8, True, "B", 1, "batch")
    network = build(model, 5, 10, torch.device("cpu"))
    assert build(replace(model, linear="he"), 5, 10, torch.device("cpu")).head.weight.abs().max() > 64**-0.5
    expected = initialised(5, shortcut="B").state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())
    for convolution in convolutions(network):
        assert convolution.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def published() -> Network:
    """ResNet-20 with the published weights that were trained by others, given to our layers in their order."""
    path = os.environ.get("RESEXP_PUBLISHED_WEIGHTS")
    if path is None:
        pytest.skip("RESEXP_PUBLISHED_WEIGHTS names no file of published weights")
    content = torch.load(path, map_location="cpu", weights_only=True)
    theirs: dict[str, Tensor] = content.get("state_dict", content)
    assert all(key.startswith("module.") for key in theirs)
    network = Network(20, True)
    ours = network.state_dict()
    counters = {key for key in ours if key.endswith("num_batches_tracked")}
    pairs = zip((key for key in ours if key not in counters), theirs.items(), strict=True)
    renamed = {key: value for key, (_, value) in pairs}
    assert {key: value.shape for key, value in renamed.items()} == {key: ours[key].shape for key in renamed}
    network.load_state_dict({key: ours[key] for key in counters} | renamed)
    return network.eval()


def test_published_weights_fit_by_renaming_alone(published: Network) -> None:
    assert trainable(published) == PARAMETERS[20][0]


def test_published_weights_make_the_published_827_errors(published: Network) -> None:
    root = os.environ.get("RESEXP_DATA")
    if root is None or not Path(root, "cifar-10-batches-py").is_dir():
        pytest.skip("RESEXP_DATA names no folder with the official CIFAR-10 files")
    test = CIFAR10(root, train=False, download=False)
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    images = torch.from_numpy(test.data)
    labels = torch.tensor(test.targets)
    wrong = 0
    with torch.inference_mode():
        for pixels, answers in zip(images.split(500), labels.split(500), strict=True):
            scores = published(((pixels / 255 - mean) / std).permute(0, 3, 1, 2))
            wrong += int((scores.argmax(1) != answers).sum())
    assert (wrong, len(labels)) == (827, 10_000)

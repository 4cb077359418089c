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
from resexp.model.network import Block, Network, SubsampleAndPad, blocks_of, build, initialise

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
    depth: int,
    residual: bool = True,
    shortcut: str = "A",
    width: int = 1,
    norm: str = "batch",
    classes: int = 10,
    skip: int = 2,
) -> Network:
    """A network without memory for its weights."""
    with torch.device("meta"):
        return Network(depth, residual, shortcut, width, norm, classes, skip)


def initialised(seed: int = 0, residual: bool = True, shortcut: str = "A", norm: str = "batch") -> Network:
    network = Network(8, residual, shortcut, norm=norm)
    initialise(network, seed)
    return network


def trainable(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def equal(one: nn.Module, other: nn.Module) -> bool:
    """Whether all that `one` holds is the same, bit for bit, in `other`, which may hold more."""
    states = one.state_dict(), other.state_dict()
    return states[0].keys() <= states[1].keys() and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0]
    )


@pytest.mark.parametrize("depth", PARAMETERS)
def test_parameters_are_the_papers(depth: int) -> None:
    a, b, c = PARAMETERS[depth]
    assert trainable(on_meta(depth, residual=False)) == a
    assert [trainable(on_meta(depth, shortcut=option)) for option in "ABC"] == [a, b, c]


@given(st.integers(-10, 60))
@example(2)
@example(-4)
def test_only_depths_of_6n_plus_2_can_be_built(depth: int) -> None:
    if depth in range(8, 61, 6):
        assert on_meta(depth).depth == depth
    else:
        with pytest.raises(ValueError, match=f"6n \\+ 2, not {depth}"):
            on_meta(depth)


@settings(max_examples=20)
@given(
    depth=st.sampled_from([8, 14, 20]),
    shortcut=st.sampled_from(["none", "A", "B", "C"]),
    width=st.integers(1, 3),
    norm=st.sampled_from(["batch", "none"]),
    size=st.integers(8, 40),
    classes=st.integers(2, 12),
    skip=st.sampled_from([1, 2]),
)
@example(depth=20, shortcut="C", width=1, norm="batch", size=8, classes=2, skip=3)
def test_a_network_is_built_as_section_4_2_describes(
    depth: int, shortcut: str, width: int, norm: str, size: int, classes: int, skip: int
) -> None:
    network = on_meta(depth, shortcut != "none", shortcut, width, norm, classes, skip)
    kernels = [convolution.kernel_size for convolution in convolutions(network)]
    blocks = (depth - 2) // skip  # two layers of each in the paper
    assert len(blocks_of(network)) == blocks
    assert kernels.count((3, 3)) + 1 == depth
    assert kernels.count((1, 1)) == {"none": 0, "A": 0, "B": 2, "C": blocks}[shortcut] == len(kernels) + 1 - depth
    x = network.stem(torch.empty(3, 3, size, size, device="meta"))
    shapes = [x.shape]
    for stage in network.stages:
        x = stage(x)
        shapes.append(x.shape)
    sizes = [size, size, -(-size // 2), -(-size // 4)]
    assert shapes == [(3, width * maps, side, side) for maps, side in zip((16, 16, 32, 64), sizes, strict=True)]
    assert network(torch.empty(3, 3, size, size, device="meta")).shape == (3, classes)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == (len(kernels) if norm == "batch" else 0)
    assert all((convolution.bias is None) == (norm == "batch") for convolution in convolutions(network))


@pytest.mark.parametrize(("residual", "layers"), [(False, 2), (True, 2), (True, 1), (True, 3)])
def test_a_residual_block_adds_its_input_before_the_last_relu_and_a_plain_one_does_not(
    residual: bool, layers: int
) -> None:
    block = Block(4, 4, 1, residual, "A", "batch", layers)
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    named = dict(block.named_children())
    out = named["norm1"](named["conv1"](x))
    for number in range(2, layers + 1):
        out = named[f"norm{number}"](named[f"conv{number}"](out.relu()))
    assert torch.equal(block.branch(x), out)
    assert [name for name, *_ in block.layers] == [name for name in named if name.startswith("conv")]
    assert torch.equal(block(x), (block.branch(x) + x if residual else block.branch(x)).relu())


def test_option_a_takes_every_second_pixel_and_adds_empty_channels_half_before_and_half_after() -> None:
    block, x = Block(4, 8, 2, True, "A", "batch"), torch.rand(2, 4, 6, 6)
    norm = block.layers[-1][2]
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.zeros_(norm.weight)  # so that nothing but the shortcut is left
    for out in (SubsampleAndPad(4, 2)(x), block(x)):
        assert torch.equal(out[:, 2:6], x[:, :, ::2, ::2])
        assert not out[:, :2].any()
        assert not out[:, 6:].any()


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("option", ["A", "B", "C"])
def test_plain_and_residual_networks_of_one_seed_start_from_equal_weights(option: str, norm: str) -> None:
    assert equal(initialised(3, False, norm=norm), initialised(3, True, option, norm))


@pytest.mark.parametrize("skip", [1, 3])
def test_blocks_of_any_number_of_layers_start_from_equal_weights(skip: int) -> None:
    networks = Network(20, True), Network(20, True, skip=skip)
    for network in networks:
        initialise(network, 3)
    one, other = (convolutions(network) for network in networks)
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(one, other, strict=True))


def test_other_seeds_give_other_weights_in_every_layer() -> None:
    one, other = initialised(0, shortcut="C"), initialised(1, shortcut="C")
    for a, b in zip([*convolutions(one), one.head], [*convolutions(other), other.head], strict=True):
        assert not torch.isclose(a.weight, b.weight, atol=1e-6).all()


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_initial_weights_and_the_global_generator_leave_each_other_alone(norm: str) -> None:
    networks: list[Network] = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        networks.append(Network(8, True, "C", norm=norm))
        before = torch.get_rng_state()
        initialise(networks[-1], 0)
        assert torch.equal(torch.get_rng_state(), before)
    assert equal(*networks)


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


def test_with_linear_he_the_head_starts_like_the_convolutions_which_stay_as_they_are() -> None:
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
    assert equal(network, initialised(5, shortcut="B"))
    for convolution in convolutions(network):
        assert convolution.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def published() -> Network:
    """ResNet-20 with weights that others trained and published, given to our layers in their order."""
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


def test_published_weights_make_the_published_827_errors(published: Network) -> None:
    assert trainable(published) == PARAMETERS[20][0]
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

"""A deeper network built from a trained shallower one, nothing trained: the paper's argument (sections 1 and 3.1).

It computes what the shallower one computes, so a deeper network of the same kind that is no worse exists.
"""

import copy
from functools import partial

import torch
from torch import Tensor, nn

from resexp.config.settings import ModelConfig
from resexp.data.batches import Images
from resexp.diagnose.table import Reading
from resexp.model.network import Block, Network, build
from resexp.training.device import Execution
from resexp.training.evaluate import evaluate

Moments = tuple[Tensor, Tensor]
"""Mean and variance of each channel, float32 (C,)."""


def deepen(shallow: Network, model: ModelConfig, seed: int, images: Images, execution: Execution) -> Network:
    """The network of `model`, deeper than `shallow` and otherwise of its kind, that computes what `shallow` computes.

    Blocks are added at the end of each stage, where neither size nor width changes. A residual block is added with a
    branch of zero, its other weights drawn from `seed`; its projection (option C) and the layers of an added plain
    block are identities, which the ReLU leaves alone, since what arrives there is never negative.

    In evaluation mode the scores are equal to the last bit where a convolution sums products and batch norm computes
    scale * x + shift, as on CPUs; where convolutions are transformed (Winograd, FFT) or batch norm subtracts the mean
    first, as on GPUs, they are equal to rounding. In training mode a zero branch stays exact. An identity with batch
    norm gives every channel the mean and the variance that it has over `images` (of the training set), whatever those
    of the mini-batch are: an identity as far as a mini-batch is like the whole set.
    """
    device = execution.device
    deep = build(model, seed, shallow.head.out_features, device).eval()
    deep.stem.load_state_dict(shallow.stem.state_dict())
    deep.head.load_state_dict(shallow.head.state_dict())
    passing = not model.residual or model.shortcut == "C"
    moments = arriving(shallow, images, execution) if passing and model.norm == "batch" else {}
    for stage, (old, new) in enumerate(zip(stages(shallow), stages(deep), strict=True)):
        for block, trained in zip(new, old, strict=False):
            block.load_state_dict(trained.state_dict())
        for block in new[len(old) :]:
            if block.shortcut is None:
                for _, conv, norm in block.layers:
                    be_identity(conv, norm, moments.get(stage))
            else:
                be_zero(*block.layers[-1][1:])
                if isinstance(block.shortcut, nn.Sequential):
                    projection, norm = block.shortcut
                    assert isinstance(projection, nn.Conv2d)
                    be_identity(projection, norm, moments.get(stage))
    return deep


def stages(network: Network) -> list[list[Block]]:
    """The blocks of each stage, from the input on."""
    return [[block for block in stage.children() if isinstance(block, Block)] for stage in network.stages]


@torch.no_grad()
def be_zero(conv: nn.Conv2d, norm: nn.Module) -> None:
    """Make a convolution and its norm, if it has one, compute zero: by the norm's scale, which leaves gradients finite.

    Batch norm divides by the deviation of a mini-batch, which zero kernels would make zero.
    """
    if isinstance(norm, nn.BatchNorm2d):
        norm.weight.zero_()
        norm.bias.zero_()
    else:
        for parameter in conv.parameters():
            parameter.zero_()


@torch.no_grad()
def be_identity(conv: nn.Conv2d, norm: nn.Module, moments: Moments | None) -> None:
    """Make a convolution and its norm, if it has one, pass on what arrives with these `moments`.

    The norm scales by deviation / deviation and shifts by mean - mean.
    """
    nn.init.dirac_(conv.weight)
    if conv.bias is not None:
        conv.bias.zero_()
    if isinstance(norm, nn.BatchNorm2d):
        assert moments is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean, variance = moments
        variance = invertible(variance, norm.eps)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(deviation(variance, norm.eps))
        norm.bias.copy_(mean)


def deviation(variance: Tensor, eps: float) -> Tensor:
    """The square root of variance + eps as batch norm on a CPU computes it: sum and root are each rounded correctly.

    float32 in and out. torch's own root of a float32 tensor may be one unit in the last place off.
    """
    return (variance + eps).double().sqrt().float()


def invertible(variance: Tensor, eps: float) -> Tensor:
    """The variance, where necessary larger by less than a thousandth, so that deviation * (1 / deviation) is 1.

    In float32 it is 1 for most deviations and just below for the others, among them thousands in a row just above a
    power of two. Batch norm multiplies by weight * (1 / deviation), so this is what makes it exact.
    """
    while (inexact := (root := deviation(variance, eps)) * (1 / root) != 1).any():
        step = torch.finfo(variance.dtype).eps * (variance + eps)  # below this a small variance changes no sum
        variance = torch.where(inexact, variance + step, variance)
    return variance


def arriving(network: Network, images: Images, execution: Execution) -> dict[int, Moments]:
    """Mean and variance of each channel at the end of each stage, over images and places, in evaluation mode.

    Measures a copy: `network` stays as it is.
    """
    network = copy.deepcopy(network)
    sums: dict[int, list[Tensor]] = {stage: [] for stage in range(len(network.stages))}

    def add(stage: int, _module: nn.Module, _input: object, output: Tensor) -> None:
        values = output.double()
        count = torch.full((values.shape[1],), values.numel() / values.shape[1], device=values.device).double()
        sums[stage].append(torch.stack([count, values.sum((0, 2, 3)), values.square().sum((0, 2, 3))]))

    for stage, module in enumerate(network.stages):
        module.register_forward_hook(partial(add, stage))
    evaluate(network, images, execution)
    moments: dict[int, Moments] = {}
    for stage, parts in sums.items():
        count, total, squares = torch.stack(parts).sum(0)
        mean = total / count
        moments[stage] = mean.float(), (squares / count - mean.square()).clamp(min=0).float()
    return moments


def measure(network: Network, train: Images, test: Images, execution: Execution) -> list[Reading]:
    """Loss and error (a fraction) on all training and all test images, as they are, in evaluation mode."""
    readings: list[Reading] = []
    for split, images in (("train", train), ("test", test)):
        loss, error = evaluate(network, images, execution)
        readings += [Reading(f"{split}_error", 0, "whole", error), Reading(f"{split}_loss", 0, "whole", loss)]
    return readings

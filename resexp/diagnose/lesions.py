"""What a trained network loses without some of its blocks, and how near each block is to the identity."""

import copy
from functools import partial

import torch
from torch import Tensor, nn

from resexp.data.batches import Images
from resexp.diagnose.table import Reading
from resexp.model.network import Block, Network, make_shortcut
from resexp.seeds import generator_of
from resexp.training.device import Execution
from resexp.training.evaluate import evaluate


def bypass(block: Block) -> nn.Module:
    """A block's shortcut; for a plain block option A, without parameters, as if it were residual."""
    if block.shortcut is not None:
        return block.shortcut
    first = block.conv1
    return make_shortcut(first.in_channels, first.out_channels, first.stride[0], "A", "none")


def blocks_of(network: Network) -> dict[str, Block]:
    """All blocks by name, from the images on."""
    return {name: module for name, module in network.named_modules() if isinstance(module, Block)}


def without(network: Network, removed: list[str]) -> Network:
    """A copy in which each of these blocks is replaced by its shortcut and the ReLU behind it."""
    network = copy.deepcopy(network)
    for name in removed:
        parent, _, child = name.rpartition(".")
        stage = network.get_submodule(parent)
        block = stage.get_submodule(child)
        assert isinstance(block, Block)
        setattr(stage, child, nn.Sequential(bypass(block), nn.ReLU()))
    return network


def measure(network: Network, images: Images, execution: Execution, seed: int) -> list[Reading]:
    """Errors (fractions) whole, without each block, and without the first blocks of a random order drawn from `seed`.

    And each block's `residual_ratio`, see there. Nothing is trained again; `network` stays as it was.
    """
    names = list(blocks_of(network))
    order = [names[index] for index in torch.randperm(len(names), generator=generator_of("lesions", seed)).tolist()]

    def error(removed: list[str]) -> float:
        return evaluate(without(network, removed), images, execution)[1]

    readings = [Reading("error", 0, "whole", error([]))]
    for position, name in enumerate(names, start=1):
        readings.append(Reading("error_without_one", position, name, error([name])))
    for count, name in enumerate(order, start=1):
        readings.append(Reading("error_without_several", count, name, error(order[:count])))
    for position, (name, ratio) in enumerate(residual_ratio(network, images, execution).items(), start=1):
        readings.append(Reading("residual_ratio", position, name, ratio))
    return readings


def residual_ratio(network: Network, images: Images, execution: Execution) -> dict[str, float]:
    """|F(x)| / |shortcut(x)| of each block, mean over images; 0 is the identity.

    F is what a block adds to its shortcut before the last ReLU: a residual block's branch; and since a plain block
    computes H(x), F(x) = H(x) - shortcut(x), with the parameter-free shortcut. An image whose shortcut is all zero has
    no ratio and does not count.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in blocks_of(network)}

    def add(name: str, block: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(block, Block)
        (x,) = inputs
        kept, added = bypass(block)(x), block.branch(x)
        if block.shortcut is None:
            added = added - kept
        length = kept.flatten(1).norm(dim=1)
        found[name].append((added.flatten(1).norm(dim=1) / length)[length > 0])

    hooks = [block.register_forward_pre_hook(partial(add, name)) for name, block in blocks_of(network).items()]
    try:
        evaluate(network, images, execution)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: float(torch.cat(ratios).double().mean()) for name, ratios in found.items()}

"""The error of a trained network without some of its blocks, and how near each block is to the identity."""

import copy
from functools import partial

import torch
from torch import Tensor, nn

from resexp.data.batches import Images
from resexp.diagnose.table import NEAR, Reading, numbered
from resexp.model.network import Block, Network, blocks_of, make_shortcut
from resexp.seeds import generator_of
from resexp.training.device import Execution
from resexp.training.evaluate import evaluate


def bypass(block: Block) -> nn.Module:
    """A block's shortcut; for a plain block option A, without parameters, as if it were residual."""
    if block.shortcut is not None:
        return block.shortcut
    first = block.conv1
    return make_shortcut(first.in_channels, first.out_channels, first.stride[0], "A", "none")


def without(network: Network, removed: list[str]) -> Network:
    """A copy in which each of these blocks is replaced by its shortcut and the ReLU after it."""
    network = copy.deepcopy(network)
    blocks = blocks_of(network)
    for name in removed:
        network.set_submodule(name, nn.Sequential(bypass(blocks[name]), nn.ReLU()))
    return network


def measure(network: Network, images: Images, execution: Execution, seed: int) -> list[Reading]:
    """Errors (fractions) whole, without each block, and without the first blocks of a random order drawn from `seed`.

    Then each block's `residual_ratio`, and the error without all blocks near the identity, whose number is its
    position. Nothing is trained; `network` stays as it is.
    """
    names = list(blocks_of(network))
    order = [names[index] for index in torch.randperm(len(names), generator=generator_of("lesions", seed)).tolist()]

    def error(removed: list[str]) -> float:
        return evaluate(without(network, removed), images, execution)[1]

    ratios = residual_ratio(network, images, execution)
    near = [name for name in names if ratios[name] < NEAR]
    return [
        Reading("error", 0, "whole", error([])),
        *numbered("error_without_one", {name: error([name]) for name in names}),
        *numbered("error_without_several", {name: error(order[: at + 1]) for at, name in enumerate(order)}),
        *numbered("residual_ratio", ratios),
        Reading("error_without_near", len(near), f"ratio below {NEAR:g}", error(near)),
    ]


def residual_ratio(network: Network, images: Images, execution: Execution) -> dict[str, float]:
    """|F(x)| / |shortcut(x)| of each block, mean over images; 0 is the identity.

    F is what a block adds to its shortcut before the last ReLU: a residual block's branch; and since a plain block
    computes H(x), F(x) = H(x) - shortcut(x), with the parameter-free shortcut. An image whose shortcut is all zero has
    no ratio and does not count.
    """
    network = copy.deepcopy(network)
    ratios: dict[str, list[Tensor]] = {name: [] for name in blocks_of(network)}

    def add(name: str, block: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(block, Block)
        (x,) = inputs
        shortcut, added = bypass(block)(x), block.branch(x)
        if block.shortcut is None:
            added = added - shortcut
        length = shortcut.flatten(1).norm(dim=1)
        ratios[name].append((added.flatten(1).norm(dim=1) / length)[length > 0])

    for name, block in blocks_of(network).items():
        block.register_forward_pre_hook(partial(add, name))
    evaluate(network, images, execution)
    return {name: float(torch.cat(parts).double().mean()) for name, parts in ratios.items()}

"""How strongly each 3x3 layer responds, the paper's figure 7, and how many of its channels are dead."""

import copy
import math
from functools import partial

import torch
from torch import Tensor, nn

from resexp.data.batches import Images
from resexp.diagnose.table import Reading, numbered
from resexp.model.network import Network, blocks_of
from resexp.training.device import Execution
from resexp.training.evaluate import evaluate


class Spread:
    """The standard deviation of values that come in batches (Chan's update of mean and squares)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, values: Tensor) -> None:
        """Count a batch."""
        mean = values.mean()
        count, shift = values.numel(), float(mean) - self.mean
        total = self.count + count
        self.squares += float((values - mean).norm()) ** 2 + shift**2 * self.count * count / total
        self.mean += shift * count / total
        self.count = total

    @property
    def deviation(self) -> float:
        """Of all values so far."""
        return math.sqrt(self.squares / self.count)


def responding(network: Network) -> dict[str, nn.Module]:
    """The module whose output is each 3x3 layer's response, from the input on: its batch norm, or without one itself.

    That is before the ReLU or the addition (section 4.2).
    """
    modules: dict[str, nn.Module] = {"stem": network.stem[1]}
    for name, block in blocks_of(network).items():
        modules |= {f"{name}.{conv}": norm for conv, _, norm in block.layers}
    return modules


def rectified(network: Network) -> list[str]:
    """The layers whose response goes straight into a ReLU: not the last of a residual block, which is added first."""
    blocks = blocks_of(network).items()
    added = {f"{name}.{block.layers[-1][0]}" for name, block in blocks if block.shortcut is not None}
    return [name for name in responding(network) if name not in added]


def measure(network: Network, images: Images, execution: Execution) -> list[Reading]:
    """For each layer, in evaluation mode, two quantities; measures a copy, `network` stays as it is.

    response: its standard deviation over images, channels and places.
    dead: of layers that go straight into a ReLU, the share of channels that it leaves at 0 at each place of each image.
    """
    network = copy.deepcopy(network)
    spreads = {name: Spread() for name in responding(network)}
    highest = dict.fromkeys(rectified(network), torch.tensor(-math.inf))

    def add(name: str, _module: nn.Module, _input: object, output: Tensor) -> None:
        spreads[name].add(output)
        if name in highest:
            highest[name] = torch.maximum(highest[name].to(output.device), output.amax((0, 2, 3)))

    for name, module in responding(network).items():
        module.register_forward_hook(partial(add, name))
    evaluate(network, images, execution)
    strengths = numbered("response", {name: spread.deviation for name, spread in spreads.items()})
    places = {reading.name: reading.position for reading in strengths}
    dead = [Reading("dead", places[name], name, int((most <= 0).sum()) / len(most)) for name, most in highest.items()]
    return [*strengths, *dead]

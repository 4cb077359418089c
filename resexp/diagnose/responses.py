"""How strongly each 3x3 layer responds: the paper's figure 7."""

import copy
import math
from functools import partial

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


def measure(network: Network, images: Images, execution: Execution) -> list[Reading]:
    """The standard deviation of each layer's response over images, channels and places, in evaluation mode.

    Measures a copy: `network` stays as it is.
    """
    network = copy.deepcopy(network)
    spreads = {name: Spread() for name in responding(network)}

    def add(name: str, _module: nn.Module, _input: object, output: Tensor) -> None:
        spreads[name].add(output)

    for name, module in responding(network).items():
        module.register_forward_hook(partial(add, name))
    evaluate(network, images, execution)
    return numbered("response", {name: spread.deviation for name, spread in spreads.items()})

"""How strongly each 3x3 layer responds: the paper's figure 7."""

import math
from functools import partial

from torch import Tensor, nn

from resexp.data.batches import Images
from resexp.diagnose.table import Reading
from resexp.model.network import Block, Network
from resexp.training.device import Execution
from resexp.training.evaluate import evaluate


class Spread:
    """The standard deviation of values that come in batches (Chan's update of mean and squares)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, values: Tensor) -> None:
        """Take in a batch."""
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
    """What each 3x3 layer's response comes out of, from the images on: its batch norm, or where there is none itself.

    It stands before the ReLU or the addition (section 4.2).
    """
    found: dict[str, nn.Module] = {"stem": network.stem[1]}
    for name, module in network.named_modules():
        if isinstance(module, Block):
            found |= {f"{name}.conv1": module.norm1, f"{name}.conv2": module.norm2}
    return found


def measure(network: Network, images: Images, execution: Execution) -> list[Reading]:
    """The standard deviation of each layer's response over images, channels and places, in evaluation mode."""
    spreads = {name: Spread() for name in responding(network)}

    def hook(spread: Spread, _module: nn.Module, _input: object, output: Tensor) -> None:
        spread.add(output)

    hooks = [module.register_forward_hook(partial(hook, spreads[name])) for name, module in responding(network).items()]
    try:
        evaluate(network, images, execution)
    finally:
        for one in hooks:
            one.remove()
    return [
        Reading("response", position, name, spread.deviation)
        for position, (name, spread) in enumerate(spreads.items(), start=1)
    ]

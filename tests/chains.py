"""Networks whose blocks multiply by a known number, so that what a diagnosis must find is known."""

import torch
from torch import nn

from resexp.data.batches import Images
from resexp.model.network import Block, Network


def chain(depth: int, residual: bool, gain: float, norm: str = "none") -> Network:
    """Every convolution passes channel c % inputs on as channel c; the last of each block multiplies by `gain`.

    On images without negative values a plain block of one width computes gain * x, a residual one (1 + gain) * x.
    """
    network = Network(depth, residual, norm=norm)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
                for channel in range(module.out_channels):
                    module.weight[channel, channel % module.in_channels, 1, 1] = 1
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.BatchNorm2d):
                module.eps = 0.0
        for module in network.modules():
            if isinstance(module, Block):
                module.layers[-1][1].weight *= gain
    return network


def grey_images(count: int = 12, size: int = 8) -> Images:
    """Images of grey pixels, 1/255 to 1, from which no mean is subtracted."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(1, 256, (count, size, size, 1), generator=generator).expand(-1, -1, -1, 3).to(torch.uint8)
    return Images(pixels, torch.zeros(size, size, 3), torch.randint(10, (count,), generator=generator), 0)

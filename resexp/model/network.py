"""Plain and residual networks for small images (He et al., section 4.2): stem, three stages of blocks, head.

Plain or residual is one switch in one `Block`: the residual network adds the shortcut, the plain one does not.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from resexp.config.settings import ModelConfig
from resexp.seeds import generator_of

STAGE_WIDTHS = (16, 32, 64)
"""Filters of the three stages at width 1 (section 4.2)."""


def conv3x3(inputs: int, outputs: int, stride: int, norm: str) -> nn.Conv2d:
    """A padded 3x3 convolution, with a bias only where no norm follows, whose shift would replace it."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=norm == "none")


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that leaves `num_batches_tracked` to whoever trains: one kernel for all layers, not one for each."""

    def forward(self, input: Tensor) -> Tensor:  # its name in PyTorch
        """(B, C, H, W) -> the same."""
        assert self.momentum is not None
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )


def normalisation(channels: int, norm: str) -> nn.Module:
    """Batch norm, or nothing."""
    return BatchNorm(channels) if norm == "batch" else nn.Identity()


class SubsampleAndPad(nn.Module):
    """Option A: every second pixel; new channels are zero, half of them before the others and half after."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before, self.after = new_channels // 2, new_channels - new_channels // 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C + new_channels, H / stride, W / stride)."""
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


def make_shortcut(inputs: int, outputs: int, stride: int, option: str, norm: str) -> nn.Module:
    """One block's shortcut: identity, option A, or a 1x1 projection (B: where the shape changes, C: everywhere)."""
    changes = stride != 1 or inputs != outputs
    if option == "C" or (option == "B" and changes):
        projection = nn.Conv2d(inputs, outputs, 1, stride, bias=norm == "none")
        return nn.Sequential(projection, normalisation(outputs, norm))
    return SubsampleAndPad(outputs - inputs, stride) if changes else nn.Identity()


class Block(nn.Module):
    """Layers, two in the paper; a residual block computes relu(branch(x) + shortcut(x)), a plain one relu(branch(x)).

    ReLU and addition overwrite the output of the norm, which nothing else needs: the same bits, less memory traffic.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, residual: bool, option: str, norm: str, layers: int = 2
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride, norm)
        self.norm1 = normalisation(outputs, norm)
        for number in range(2, layers + 1):
            self.add_module(f"conv{number}", conv3x3(outputs, outputs, 1, norm))
            self.add_module(f"norm{number}", normalisation(outputs, norm))
        self.layer_count = layers
        self.shortcut = make_shortcut(inputs, outputs, stride, option, norm) if residual else None

    @property
    def layers(self) -> list[tuple[str, nn.Conv2d, nn.Module]]:
        """Each convolution by its name, with the norm that follows it, from the input on."""
        numbers = range(1, self.layer_count + 1)
        return [(f"conv{i}", getattr(self, f"conv{i}"), getattr(self, f"norm{i}")) for i in numbers]

    def branch(self, x: Tensor) -> Tensor:
        """The stacked layers, F(x) in the paper: (B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        x = self.norm1(self.conv1(x))
        for _, conv, norm in self.layers[1:]:
            x = norm(conv(functional.relu(x, inplace=True)))
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        out = self.branch(x)
        if self.shortcut is not None:
            out += self.shortcut(x)
        return functional.relu(out, inplace=True)


class Head(nn.Linear):
    """Average pooling and a linear layer."""

    def forward(self, input: Tensor) -> Tensor:  # its name in PyTorch
        """(B, C, H, W) -> scores (B, classes)."""
        return super().forward(input.mean((2, 3)))


class Network(nn.Module):
    """A network of 6n + 2 weighted layers: stem, three stages of n blocks, average pooling, linear head.

    With `skip` layers in a block instead of two, a stage still has 2n layers.
    """

    def __init__(
        self,
        depth: int,
        residual: bool,
        shortcut: str = "A",
        width: int = 1,
        norm: str = "batch",
        classes: int = 10,
        skip: int = 2,
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth must be 6n + 2, not {depth}")
        self.depth = depth
        inputs = width * STAGE_WIDTHS[0]
        self.stem = nn.Sequential(conv3x3(3, inputs, 1, norm), normalisation(inputs, norm), nn.ReLU(inplace=True))
        self.stages = nn.Sequential()
        for stage, filters in enumerate(STAGE_WIDTHS):
            blocks, outputs = nn.Sequential(), width * filters
            for block in range((depth - 2) // 3 // skip):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(Block(inputs, outputs, stride, residual, shortcut, norm, skip))
                inputs = outputs
            self.stages.append(blocks)
        self.head = Head(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> scores (B, classes)."""
        return self.head(self.stages(self.stem(images)))


def blocks_of(network: nn.Module) -> dict[str, Block]:
    """All blocks by name, from the input on."""
    return {name: module for name, module in network.named_modules() if isinstance(module, Block)}


def initialise(network: Network, seed: int, linear: str = "default") -> None:
    """Draw all weights from the seed: He normal with fan-in for convolutions, PyTorch's default for the linear head.

    With linear="he" the head is drawn like the convolutions, 2.4 times as large, and its bias is zero. Projections have
    their own generator: plain and residual networks of one depth and seed get equal weights, whatever the shortcut.
    """
    layers = generator_of("layers", seed)
    projections = generator_of("projections", seed)
    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d) or (isinstance(module, nn.Linear) and linear == "he"):
                generator = projections if ".shortcut." in name else layers
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                module.weight.uniform_(-bound, bound, generator=layers)
                module.bias.uniform_(-bound, bound, generator=layers)


def build(model: ModelConfig, seed: int, classes: int, device: torch.device) -> Network:
    """The network of a configuration on its device, with the initial weights of its seed, in channels-last layout."""
    network = Network(model.depth, model.residual, model.shortcut, model.width, model.norm, classes, model.skip)
    initialise(network, seed, model.linear)
    network.to(device)
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network

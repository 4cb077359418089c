"""How large gradients are at each layer: on one mini-batch, in training mode, in the precision of the network."""

import copy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from resexp.diagnose.table import Reading, numbered
from resexp.model.network import blocks_of


def measure(network: nn.Module, images: Tensor, labels: Tensor) -> list[Reading]:
    """Norms of the gradients of a mini-batch's mean loss. Images (B, 3, H, W), labels (B,).

    For each weighted layer the norm of its weights, of their gradient, and the ratio of the two (a bias is left out);
    for each block the norm of the gradient at its output, over all images. Measures a copy: `network` stays as it is.
    """
    network = copy.deepcopy(network).train()
    outputs: dict[str, Tensor] = {}

    def keep(name: str, _module: nn.Module, _input: object, output: Tensor) -> None:
        output.retain_grad()
        outputs[name] = output

    for name, block in blocks_of(network).items():
        block.register_forward_hook(partial(keep, name))
    network.zero_grad()
    functional.cross_entropy(network(images), labels).backward()

    readings: list[Reading] = []
    layers = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for position, (name, layer) in enumerate(layers, start=1):
        weight, gradient = norm(layer.weight), norm(layer.weight.grad)
        readings += [
            Reading("weight", position, name, weight),
            Reading("weight_gradient", position, name, gradient),
            Reading("relative_gradient", position, name, gradient / weight if weight else float("nan")),
        ]
    return readings + numbered("output_gradient", {name: norm(output.grad) for name, output in outputs.items()})


def scale_weights(network: nn.Module, scale: float) -> None:
    """Multiply the weights of all convolutions, not those of the linear layer; biases are zero before training."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight *= scale


def norm(values: Tensor | None) -> float:
    """The Euclidean norm of all values together, in double precision; 0 where there are none."""
    if values is None:
        return 0.0
    values = values.detach().double()
    largest = values.abs().max()  # squares of very small or large values leave float64's range
    return float(largest * (values / largest).norm()) if largest > 0 else float(largest)

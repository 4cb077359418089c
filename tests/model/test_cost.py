"""What arithmetic says about a network, against the network itself."""

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from resexp.config.settings import ModelConfig
from resexp.model.cost import multiply_adds, parameters
from resexp.model.network import Network


def of_kind(kind: tuple[bool, str, int], depth: int, width: int, norm: str) -> ModelConfig:
    residual, shortcut, skip = kind
    return ModelConfig("any", depth, residual, shortcut, width, norm, skip=skip)


MODELS = st.builds(
    of_kind,
    kind=st.sampled_from([(False, "A", 2), (True, "A", 2), (True, "B", 1), (True, "C", 2), (True, "C", 1)]),
    depth=st.sampled_from([8, 14, 20]),
    width=st.integers(1, 3),
    norm=st.sampled_from(["batch", "none"]),
)


def built(model: ModelConfig) -> Network:
    with torch.device("meta"):
        return Network(model.depth, model.residual, model.shortcut, model.width, model.norm, skip=model.skip)


@given(MODELS)
def test_parameters_are_those_of_the_network(model: ModelConfig) -> None:
    assert parameters(model) == sum(parameter.numel() for parameter in built(model).parameters())


@given(MODELS)
def test_multiply_adds_are_those_of_a_forward_pass(model: ModelConfig) -> None:
    network = built(model)
    counts: list[int] = []

    def count(layer: nn.Module, inputs: Any, out: Tensor) -> None:
        """A weight is used once for each pixel of its map."""
        weight = layer.weight
        assert isinstance(weight, Tensor)
        counts.append(weight.numel() * out.shape[2:].numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    network(torch.empty(1, 3, 32, 32, device="meta"))
    assert multiply_adds(model) == sum(counts)

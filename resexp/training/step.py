"""One training iteration: forward, loss, backward, update, and the counts, all on the device."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from resexp.config.settings import RecipeConfig
from resexp.model.network import BatchNorm
from resexp.training.device import Execution


class SGD:
    """SGD with momentum (not Nesterov) and weight decay on everything: the fused step of torch.optim.SGD, to the bit.

    PyTorch's own loads the compiler with it, over a second. Momentum is there from the start, zero: a step that finds
    none and takes the gradient itself cannot be replayed, and an overflow in it would leave memory nobody has written.
    """

    _step_supports_amp_scaling = True  # GradScaler then sets `grad_scale` and `found_inf` while it calls `step`

    def __init__(self, network: nn.Module, recipe: RecipeConfig) -> None:
        self.parameters: tuple[Tensor, ...] = tuple(network.parameters())
        self.param_groups = [{"params": self.parameters}]  # where GradScaler looks for gradients
        self.momentum = [torch.zeros_like(parameter) for parameter in self.parameters] if recipe.momentum else []
        self.recipe = recipe

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Take a step along the gradients."""
        torch._fused_sgd_(  # pyright: ignore[reportPrivateImportUsage]
            self.parameters,
            tuple(parameter.grad for parameter in self.parameters if parameter.grad is not None),
            self.momentum,
            weight_decay=self.recipe.weight_decay,
            momentum=self.recipe.momentum,
            lr=rate,
            dampening=0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
            grad_scale=getattr(self, "grad_scale", None),
            found_inf=getattr(self, "found_inf", None),
        )


class Objective(nn.Module):
    """What training minimises, and what it counts. A module, so that an engine can compile it."""

    def forward(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, classes), labels (B,) -> mean cross-entropy and wrong answers."""
        return functional.cross_entropy(scores.float(), labels), (scores.argmax(1) != labels).sum()


class Step:
    """Trains a network by one batch a call, on the execution's device and in its precision."""

    def __init__(self, network: nn.Module, recipe: RecipeConfig, execution: Execution) -> None:
        self.network, self.objective, self.execution = network, Objective(), execution
        self.optimizer: Any = SGD(network, recipe)
        norms = (module for module in network.modules() if isinstance(module, BatchNorm))
        self.batches_tracked = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
        self.scaler = torch.amp.GradScaler(execution.device.type, enabled=execution.precision == "fp16")

    def __call__(self, images: Tensor, labels: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W), labels (B,) -> mean loss and wrong answers, before the update, on the device."""
        with self.execution.autocast():
            loss, wrong = self.objective(self.network(images), labels)
        for parameter in self.optimizer.parameters:
            parameter.grad = None
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer, rate)
        self.scaler.update()
        if self.batches_tracked:
            torch._foreach_add_(self.batches_tracked, 1)  # pyright: ignore[reportPrivateImportUsage]
        return loss.detach(), wrong

    def state(self) -> dict[str, Any]:
        """Weights, batch-norm statistics, momentum, loss scale: all that the next iteration depends on."""
        network, scaler = self.network.state_dict(), self.scaler.state_dict()
        return {"network": network, "momentum": self.optimizer.momentum, "scaler": scaler}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave, keeping every tensor in its place."""
        self.network.load_state_dict(state["network"])
        for own, saved in zip(self.optimizer.momentum, state["momentum"], strict=False):
            own.copy_(saved)
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])

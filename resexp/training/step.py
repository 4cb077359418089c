"""One training iteration: forward, loss, backward, update, and the counts, all on the device."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from resexp.config.settings import RecipeConfig
from resexp.model.network import BatchNorm
from resexp.training.device import Execution


def make_optimizer(network: nn.Module, recipe: RecipeConfig) -> torch.optim.SGD:
    """SGD with momentum (not Nesterov) and weight decay on everything, its momentum zero and already there.

    A fused step that finds no momentum yet takes the gradient itself, which is the same, but cannot be replayed, and
    with loss scaling an overflow in it would leave memory that nobody has written.
    """
    fused = next(network.parameters()).device.type in ("cpu", "cuda")
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=fused
    )
    if recipe.momentum:
        for parameter in network.parameters():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


class Step:
    """Trains a network by one batch a call, on the execution's device and in its precision."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.SGD, execution: Execution) -> None:
        self.network, self.optimizer, self.execution = network, optimizer, execution
        norms = (module for module in network.modules() if isinstance(module, BatchNorm))
        self.batches_tracked = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
        self.scaler = torch.amp.GradScaler(execution.device.type, enabled=execution.precision == "fp16")

    def __call__(self, images: Tensor, labels: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W), labels (B,) -> mean loss and wrong answers, before the update, on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self.execution.autocast():
            scores = self.network(images)
            loss = functional.cross_entropy(scores.float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.batches_tracked:
            torch._foreach_add_(self.batches_tracked, 1)  # pyright: ignore[reportPrivateImportUsage]
        return loss.detach(), (scores.argmax(1) != labels).sum()

    def state(self) -> dict[str, Any]:
        """Weights, batch-norm statistics, momentum, loss scale: all that the next iteration depends on."""
        momentum = [self.optimizer.state[p].get("momentum_buffer") for p in self.network.parameters()]
        return {"network": self.network.state_dict(), "momentum": momentum, "scaler": self.scaler.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave, keeping every tensor in its place."""
        self.network.load_state_dict(state["network"])
        for parameter, saved in zip(self.network.parameters(), state["momentum"], strict=True):
            if saved is not None:
                self.optimizer.state[parameter]["momentum_buffer"].copy_(saved)
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])

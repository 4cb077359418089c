"""Error of a network on a whole set: evaluation mode, the one original view."""

import sys
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional

from resexp.data.batches import Images
from resexp.training.device import Execution

BATCH_SIZE = {"cpu": 500, "cuda": 2500}
"""Images of 32x32 at a time, fewer of larger ones; it changes speed and memory, not what is counted."""


@torch.no_grad()
def evaluate(network: nn.Module, images: Images, execution: Execution) -> tuple[float, float]:
    """Mean loss and error (a fraction). The network is put back into training mode if it was in it."""
    training = network.training
    network.eval()
    size = max(1, BATCH_SIZE.get(execution.device.type, 500) * 32**2 // max(32, images.side) ** 2)
    loss = torch.zeros((), device=execution.device)
    wrong = torch.zeros((), dtype=torch.int64, device=execution.device)
    for first in range(0, len(images), size):
        batch, labels = images.plain(first, size)
        # Compiling is for training: an evaluation is not worth variants of its own. To say so loads the compiler.
        compiled = "torch._dynamo" in sys.modules
        with execution.autocast(), torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            scores = network(batch).float()
        loss += functional.cross_entropy(scores, labels, reduction="sum")
        wrong += (scores.argmax(1) != labels).sum()
    network.train(training)
    return float(loss) / len(images), int(wrong) / len(images)

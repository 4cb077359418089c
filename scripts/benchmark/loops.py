"""The loops that are measured, each in a process of its own: `loops.py SPEC`.

A spec names network, measure, engine, precision, layout, deterministic and the iterations of a window. A loop goes on
until it is killed, and prints a line of JSON behind each window: when it began, and its images per second.
"""

import hashlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

BEGAN = time.monotonic()
LONG = 10**6
"""Iterations that are never reached."""

Spec = dict[str, Any]
Tell = Callable[[float, float, str, str], None]
"""Called behind each window with when it began, its images per second, engine and precision."""


def settings(spec: Spec, runs: str = "unused") -> Any:
    """The settings of the run that all measures share."""
    from resexp.config.compose import compose

    return compose(
        f"model={spec['network']}",
        "data=shapes",
        "data.image_size=32",
        f"data.train_images={spec['images']}",
        "data.test_images=10",
        f"recipe.iterations={LONG}",
        f"recipe.batch_size={spec['batch_size']}",
        f"recipe.row_every={spec['window']}",
        f"recipe.evaluate_every={LONG * spec['window']}",
        f"device={spec['device']}",
        f"precision={spec['precision']}",
        f"engine={spec['engine']}",
        f"deterministic={spec['deterministic']}",
        f"runs={runs}",
    )


def resexp(spec: Spec, tell: Tell) -> None:
    """Train as a user does; the speeds are those of timing.csv, where a row is a window."""
    from resexp.training import train
    from resexp.training.recorder import Recorder

    class Telling(Recorder):
        def row(self) -> None:
            began = self.timing.row_began
            super().row()
            speed = self.timing.speeds.get(self.trainer.iteration)
            if speed is not None:  # a row that was start-up alone has none
                tell(began, speed, self.record.stretches[-1]["engine"], self.record.stretches[-1]["precision"])

    train.Recorder = Telling
    train.train(settings(spec, tempfile.mkdtemp()))


def ready(spec: Spec) -> tuple[Any, str]:
    """A trainer whose engine has started, and that engine's name."""
    from resexp.data.load import load
    from resexp.training.device import prepare
    from resexp.training.engine import choose
    from resexp.training.trainer import Trainer

    config = settings(spec)
    execution = prepare(config)
    trainer = Trainer(config, load(config.data), execution)
    if spec["measure"] == "bare":
        fix_batch(trainer, spec["layout"] == "contiguous")
    return trainer, trainer.start_engine(choose(config.engine, execution))


def fix_batch(trainer: Any, contiguous: bool) -> None:
    """Let every iteration be the step alone on one batch, in the layout that training has or in the other."""
    import torch

    images, labels = trainer.train_images.gather(trainer.stream.batch(1))
    if contiguous:
        images = images.contiguous()
        for parameter in trainer.network.parameters():
            parameter.data = parameter.data.contiguous()
            trainer.step.optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def step(_: Any, rate: float) -> None:
        trainer.step(images, labels, rate)

    trainer.eager = trainer.iterate = step


def bare(spec: Spec, tell: Tell) -> None:
    """The step alone, again and again on one batch."""
    trainer, engine = ready(spec)
    picks, rate = trainer.stream.batch(1), trainer.recipe.lr
    while True:
        began = time.monotonic()
        for _ in range(spec["window"]):
            trainer.iterate(picks, rate)
        synchronise(trainer)
        tell(began, images_per_second(spec, began), engine, trainer.execution.precision)


def images_per_second(spec: Spec, began: float) -> float:
    """Images per second of a window that has just ended."""
    return spec["window"] * spec["batch_size"] / (time.monotonic() - began)


def together(spec: Spec) -> dict[str, Any]:
    """The training loop beside others: says when it is warm, goes on when told to, and tells when it trained.

    The digest is of all weights at the end: a run beside others is to give the bits of the run alone.
    """
    trainer, engine = ready(spec)
    for _ in range(spec["window"]):
        trainer.advance()
    synchronise(trainer)
    startup = time.monotonic() - BEGAN
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    for _ in range(spec["iterations"]):
        trainer.advance()
    synchronise(trainer)
    ended = time.monotonic()
    sha = hashlib.sha256()
    for tensor in trainer.network.state_dict().values():
        sha.update(tensor.cpu().contiguous().numpy().tobytes())
    return {
        "began": began,
        "ended": ended,
        "seconds_startup": startup,
        "engine": engine,
        "precision": trainer.execution.precision,
        "digest": sha.hexdigest(),
    }


def synchronise(trainer: Any) -> None:
    """Wait for the device."""
    import torch

    if trainer.execution.device.type == "cuda":
        torch.cuda.synchronize(trainer.execution.device)


def usual(spec: Spec, tell: Tell) -> None:
    """The loop as people write it."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from resexp.data.load import load
    from resexp.model.network import Network
    from resexp.system.machine import cores
    from resexp.training.device import prepare

    config = settings({**spec, "engine": "eager", "precision": "fp32"})
    device = prepare(config).device
    torch.backends.cudnn.allow_tf32 = True  # PyTorch's own default
    split = load(config.data).train
    pixels, labels = split.images.permute(0, 2, 3, 1).contiguous().numpy(), split.labels.tolist()
    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        ]
    )

    class Images(Dataset[tuple[torch.Tensor, int]]):
        def __len__(self) -> int:
            return len(labels)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return transform(Image.fromarray(pixels[index])), labels[index]

    loader = DataLoader(
        Images(),
        spec["batch_size"],
        shuffle=True,
        drop_last=True,
        num_workers=cores(),
        persistent_workers=True,
        pin_memory=device.type == "cuda",
    )
    network = Network(config.model.depth, config.model.residual).to(device)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    criterion = torch.nn.CrossEntropyLoss()
    began, steps = time.monotonic(), 0
    while True:
        for images, answers in loader:
            images, answers = images.to(device), answers.to(device)
            scores = network(images)
            loss = criterion(scores, answers)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item()
            (scores.argmax(1) != answers).sum().item()
            steps += 1
            if steps % spec["window"] == 0:
                tell(began, images_per_second(spec, began), "eager", "fp32")
                began = time.monotonic()


LOOPS = {"usual": usual, "resexp": resexp, "bare": bare}


def peak_memory_mb(spec: Spec) -> float:
    """Of this process so far: on the GPU, or else in the main memory."""
    import torch

    if torch.cuda.is_available() and spec["device"] != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(spec: Spec) -> None:
    """Do one measurement and print what comes of it."""
    from resexp.cli import ENVIRONMENT

    os.setpgrp()  # so that the workers of a loop are stopped with it
    if spec["measure"] != "usual":  # what the command sets for itself, people's loop does not have
        os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    startup: list[float] = []

    def tell(began: float, speed: float, engine: str, precision: str) -> None:
        if not startup:
            startup.append(time.monotonic() - BEGAN)
        window = {"began": began, "speed": speed, "engine": engine, "precision": precision}
        more = {"seconds_startup": startup[0], "peak_memory_mb": peak_memory_mb(spec)}
        print(json.dumps(window | more), flush=True)

    if spec["measure"] == "together":
        result = together(spec)
        print(json.dumps(result | {"peak_memory_mb": peak_memory_mb(spec)}), flush=True)
    else:
        LOOPS[spec["measure"]](spec, tell)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

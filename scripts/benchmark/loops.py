"""The loops that are measured, each in a process of its own: `loops.py SPEC`, JSON in and out.

A spec names network, measure, engine, precision, layout, deterministic and how much is done.
"""

import csv
import hashlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from typing import Any

BEGAN = time.monotonic()

Spec = dict[str, Any]
Result = dict[str, Any]


def settings(spec: Spec, runs: str = "unused") -> Any:
    """The settings of the run that all measures share."""
    from resexp.compose import compose

    return compose(
        f"model={spec['network']}",
        "data=shapes",
        "data.image_size=32",
        f"data.train_images={spec['images']}",
        "data.test_images=10",
        f"recipe.iterations={spec['iterations'] + spec['warm_up']}",
        f"recipe.batch_size={spec['batch_size']}",
        f"recipe.row_every={spec['warm_up']}",
        f"recipe.evaluate_every={1000 * spec['warm_up']}",
        f"device={spec['device']}",
        f"precision={spec['precision']}",
        f"engine={spec['engine']}",
        f"deterministic={spec['deterministic']}",
        f"runs={runs}",
    )


def resexp(spec: Spec) -> Result:
    """Train as a user does; the speeds of all rows but the first, in which everything warms up."""
    from resexp.train import train

    with tempfile.TemporaryDirectory() as runs:
        config = settings(spec, runs)
        record = train(config)
        with (config.directory / "timing.csv").open() as file:
            rows = list(csv.DictReader(file))
    stretch = record.stretches[-1]
    return {
        "speeds": [float(row["images_per_second"]) for row in rows if int(row["iteration"]) > spec["warm_up"]],
        "seconds_startup": time.monotonic() - BEGAN - stretch["seconds"],
        "engine": stretch["engine"],
        "precision": stretch["precision"],
    }


def ready(spec: Spec) -> tuple[Any, str]:
    """A trainer whose engine has started, and that engine's name."""
    from resexp.data import load
    from resexp.device import prepare
    from resexp.engine import choose
    from resexp.trainer import Trainer

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


def bare(spec: Spec) -> Result:
    """The step alone, again and again on one batch."""
    trainer, engine = ready(spec)
    picks, rate = trainer.stream.batch(1), trainer.recipe.lr

    def several() -> float:
        began = time.monotonic()
        for _ in range(spec["warm_up"]):
            trainer.iterate(picks, rate)
        synchronise(trainer)
        return spec["warm_up"] * spec["batch_size"] / (time.monotonic() - began)

    several()
    startup = time.monotonic() - BEGAN
    speeds = [several() for _ in range(spec["iterations"] // spec["warm_up"])]
    return {
        "speeds": speeds,
        "seconds_startup": startup,
        "engine": engine,
        "precision": trainer.execution.precision,
    }


def together(spec: Spec) -> Result:
    """The training loop beside others: says when it is warm, goes on when told to, and tells when it trained.

    The digest is of all weights at the end: a run beside others is to give the bits of the run alone.
    """
    trainer, engine = ready(spec)
    for _ in range(spec["warm_up"]):
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


def usual(spec: Spec) -> Result:
    """The loop as people write it."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from resexp.data import load
    from resexp.device import prepare
    from resexp.machine import cores
    from resexp.models import Network

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
    speeds: list[float] = []
    began, steps, startup = time.monotonic(), 0, 0.0
    while len(speeds) <= spec["iterations"] // spec["warm_up"]:
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
            if steps % spec["warm_up"] == 0:
                speeds.append(spec["warm_up"] * spec["batch_size"] / (time.monotonic() - began))
                startup = startup or time.monotonic() - BEGAN
                began = time.monotonic()
                if len(speeds) > spec["iterations"] // spec["warm_up"]:
                    break
    return {"speeds": speeds[1:], "seconds_startup": startup, "engine": "eager", "precision": "fp32"}


LOOPS = {"usual": usual, "resexp": resexp, "bare": bare, "together": together}


def main(spec: Spec) -> None:
    """Do one measurement and print it."""
    from resexp.cli import ENVIRONMENT

    if spec["measure"] != "usual":  # what the command sets for itself, people's loop does not have
        os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    result = LOOPS[spec["measure"]](spec)
    import torch

    gpu = torch.cuda.is_available() and spec["device"] != "cpu"
    host_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result["peak_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20 if gpu else host_kb / 1024
    if "speeds" in result:
        result["speed"] = statistics.median(result.pop("speeds"))
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

"""Images per second of training, measured in turn and repeated, each time in a process of its own.

usual   the loop as people write it: torchvision transforms per image, a DataLoader with as many workers as cores,
        fp32, eager, `.item()` each step
resexp  `resexp train` as a user gets it, from its timing.csv: evaluations and checkpoints apart
bare    the step of the same network, engine and precision on one fixed batch: the ceiling
floor   on a GPU: the bytes a step must move over the measured copy bandwidth
"""

import argparse
import csv
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

BEGAN = time.monotonic()
ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ("network", "measure", "engine", "precision", "deterministic", "images_per_second_median", "low", "high")
COLUMNS += ("seconds_startup", "peak_memory_mb", "seconds_per_iteration")
MEASURES = ("usual", "resexp", "bare")
IMAGES = 10_000
"""Images of 32x32 pixels in the training set; their number does not matter to the speed."""

Spec = dict[str, Any]


def settings(spec: Spec, runs: str) -> Any:
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


def measure_resexp(spec: Spec) -> dict[str, Any]:
    """Train; the speeds of all rows but the first, in which everything warms up."""
    from resexp.train import train

    with tempfile.TemporaryDirectory() as runs:
        config = settings(spec, runs)
        record = train(config)
        with (config.directory / "timing.csv").open() as file:
            rows = list(csv.DictReader(file))
    stretch = record.stretches[-1]
    return {
        "speeds": [float(row["images_per_second"]) for row in rows[1:]],
        "seconds_startup": time.monotonic() - BEGAN - stretch["seconds"],
        "engine": stretch["engine"],
        "precision": stretch["precision"],
        "device_name": stretch["device_name"],
    }


def measure_bare(spec: Spec) -> dict[str, Any]:
    """The step alone, again and again on one batch."""
    from resexp.data import load
    from resexp.device import prepare
    from resexp.engine import choose
    from resexp.trainer import Trainer

    config = settings(spec, "unused")
    execution = prepare(config)
    trainer = Trainer(config, load(config.data), execution)
    images, labels = trainer.train_images.gather(trainer.stream.batch(1))

    def step(_: Any, rate: float) -> None:
        trainer.step(images, labels, rate)

    trainer.eager = step
    trainer.iterate = step
    engine = trainer.start_engine(choose(config.engine, execution))
    picks = trainer.stream.batch(1)
    rate = config.recipe.lr

    def several() -> float:
        began = time.monotonic()
        for _ in range(spec["warm_up"]):
            trainer.iterate(picks, rate)
        synchronise(execution.device)
        return spec["warm_up"] * spec["batch_size"] / (time.monotonic() - began)

    several()
    startup = time.monotonic() - BEGAN
    speeds = [several() for _ in range(spec["iterations"] // spec["warm_up"])]
    return {"speeds": speeds, "seconds_startup": startup, "engine": engine, "precision": execution.precision}


def synchronise(device: Any) -> None:
    """Wait for the device."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_usual(spec: Spec) -> dict[str, Any]:
    """The loop as people write it."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from resexp.data import load
    from resexp.device import prepare
    from resexp.machine import cores
    from resexp.models import Network

    config = settings({**spec, "engine": "eager", "precision": "fp32"}, "unused")
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
    model = config.model
    network = Network(model.depth, model.residual).to(device)
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


def one(spec: Spec) -> dict[str, Any]:
    """Do one measurement in this process."""
    result = {"usual": measure_usual, "resexp": measure_resexp, "bare": measure_bare}[spec["measure"]](spec)
    import torch

    if torch.cuda.is_available():
        result["peak_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
    else:
        result["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def step_bytes(network: str, batch_size: int, precision: str) -> int:
    """What a step must move at least, each convolution with what follows it in one pass.

    Forward: read the input, write the output. Backward: read the output's gradient twice (for the input and for the
    weights) and the input once, write the input's gradient.
    """
    from resexp.compose import compose
    from resexp.count import layers

    width = 4 if precision in ("fp32", "tf32") else 2
    model = compose(f"model={network}").model
    total = 0
    for _, inputs, outputs, size in layers(model):
        stride = 2 if outputs == 2 * inputs else 1
        into, out = inputs * (size * stride) ** 2, outputs * size**2
        total += into + out + 2 * out + 2 * into
    return total * batch_size * width


def copy_bandwidth() -> float:
    """Bytes per second, read and written, of a large copy on the GPU."""
    import torch

    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    seconds: list[float] = []
    for _ in range(20):
        torch.cuda.synchronize()
        began = time.monotonic()
        target.copy_(source)
        torch.cuda.synchronize()
        seconds.append(time.monotonic() - began)
    return 2 * source.numel() / statistics.median(seconds)


def run_all(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All measurements in turn, the whole round `repeats` times; a row for each kind."""
    variants = product(
        arguments.networks, MEASURES, arguments.engines, arguments.precisions, (arguments.deterministic,)
    )
    specs = [
        dict(zip(("network", "measure", "engine", "precision", "deterministic"), variant, strict=True))
        for variant in variants
        if variant[1] != "usual" or (variant[2], variant[3]) == (arguments.engines[0], arguments.precisions[0])
    ]
    found: list[list[dict[str, Any]]] = [[] for _ in specs]
    for repeat in range(arguments.repeats):
        for spec, results in zip(specs, found, strict=True):
            common = ("iterations", "warm_up", "batch_size", "device", "images")
            whole = {**spec, **{name: getattr(arguments, name) for name in common}}
            command = [sys.executable, __file__, "--one", json.dumps(whole)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
            speed = statistics.median(results[-1]["speeds"])
            print(f"{repeat + 1} {spec['network']:<10} {spec['measure']:<7} {speed:10.1f} images/s", file=sys.stderr)
    return [row(spec, results, arguments.batch_size) for spec, results in zip(specs, found, strict=True)]


def row(spec: Spec, results: list[dict[str, Any]], batch_size: int) -> dict[str, Any]:
    """Median, lowest and highest of the repeats' medians."""
    speeds = [statistics.median(result["speeds"]) for result in results]
    median = statistics.median(speeds)
    return {
        **spec,
        "engine": results[-1]["engine"],
        "precision": results[-1]["precision"],
        "images_per_second_median": round(median, 1),
        "low": round(min(speeds), 1),
        "high": round(max(speeds), 1),
        "seconds_startup": round(statistics.median(result["seconds_startup"] for result in results), 1),
        "peak_memory_mb": round(max(result["peak_memory_mb"] for result in results)),
        "seconds_per_iteration": round(batch_size / median, 5),
    }


def add_floor(rows: list[dict[str, Any]], batch_size: int) -> None:
    """On a GPU, one more row for each network and precision: what memory traffic alone would allow."""
    import torch

    if not torch.cuda.is_available():
        return
    bandwidth = copy_bandwidth()
    for network, precision in sorted({(row["network"], row["precision"]) for row in rows if row["measure"] == "bare"}):
        seconds = step_bytes(network, batch_size, precision) / bandwidth
        speed = round(batch_size / seconds, 1)
        empty = dict.fromkeys(COLUMNS, "")
        known = {"network": network, "measure": "floor", "precision": precision, "images_per_second_median": speed}
        rows.append(empty | known | {"seconds_per_iteration": round(seconds, 6)})


def ratios(rows: list[dict[str, Any]]) -> list[str]:
    """resexp over usual, over bare and over the floor, a line for each network, engine and precision."""
    speeds = {(row["network"], row["measure"], row["engine"], row["precision"]): row for row in rows}
    lines: list[str] = []
    for (network, measure, engine, precision), own in speeds.items():
        if measure != "resexp":
            continue
        others = {
            "usual": next((row for key, row in speeds.items() if key[:2] == (network, "usual")), None),
            "bare": speeds.get((network, "bare", engine, precision)),
            "floor": speeds.get((network, "floor", "", precision)),
        }
        speed = own["images_per_second_median"]
        parts = [f"resexp/{name} {speed / row['images_per_second_median']:.2f}" for name, row in others.items() if row]
        lines.append(f"{network:<10} {engine} {precision}: {', '.join(parts)}")
    return lines


def draw(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    """A bar for each row."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shade = {"usual": "#c8c8c8", "resexp": "#2b3a8c", "bare": "#8fb8de", "floor": "#e6e6e6"}
    names = [" ".join(str(row[key]) for key in ("network", "measure", "engine", "precision")).strip() for row in rows]
    figure, axes = pyplot.subplots(figsize=(8, 0.7 + 0.32 * len(rows)), layout="constrained")
    values = [row["images_per_second_median"] for row in rows]
    bars = axes.barh(names, values, color=[shade[row["measure"]] for row in rows])
    axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel("training images per second, median of the repeats")
    figure.savefig(path, dpi=150, metadata={"Software": None})


def main() -> None:
    """Measure everything that is asked for and write it down."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    several = {"type": lambda text: text.split(",")}
    parser.add_argument("--networks", default=["resnet20", "resnet56"], **several)
    parser.add_argument("--engines", default=["auto"], **several, help="auto, eager, compile, graph")
    parser.add_argument("--precisions", default=["auto"], **several, help="auto, fp32, tf32, bf16")
    parser.add_argument("--deterministic", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--iterations", type=int, default=40, help="measured in each repeat")
    parser.add_argument("--warm-up", type=int, default=10, help="before them; and iterations a figure is taken over")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=IMAGES, help="in the training set")
    parser.add_argument("--out", type=Path, help="folder for bench.csv and bench.png")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(json.loads(arguments.one))))
        return
    from resexp.device import processor_name

    rows = run_all(arguments)
    add_floor(rows, arguments.batch_size)
    hardware = hardware_name(processor_name())
    folder: Path = arguments.out or ROOT / "results" / "bench" / hardware
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "bench.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, folder / "bench.png", f"Training speed, batch {arguments.batch_size}, {hardware}")
    print("\n".join(ratios(rows)))
    print(folder / "bench.csv")


def hardware_name(processor: str) -> str:
    """A folder's name for this machine: the GPU, or the CPU and its cores."""
    import re

    import torch

    from resexp.machine import cores

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{processor} {cores()} cores"
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\(\w+\)", "", name).lower()).strip("-")


if __name__ == "__main__":
    main()

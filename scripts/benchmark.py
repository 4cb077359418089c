"""Training images per second of `resexp`, beside the loop as people write it and beside the bare step.

usual    torchvision transforms per image, DataLoader workers, eager, `.item()` each step, fp32 unless another is named
resexp   the iterations of `resexp train`, without evaluations and checkpoints
bare     forward, backward and update of the same network on one fixed batch: the ceiling

The loops of a comparison train turn by turn, in processes that are stopped while others have a turn, so that a slow
minute meets them all; a ratio is the median over turns, with quartiles. OUT/bench.csv: a row for each turn of a loop.
"""

import csv
import hashlib
import json
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import time
from argparse import SUPPRESS, ArgumentParser, Namespace, RawTextHelpFormatter
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, nullcontext, suppress
from dataclasses import replace
from functools import partial
from itertools import chain, permutations, product, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from resexp.cli import ENVIRONMENT
from resexp.config.compose import compose
from resexp.config.presets import conf_dir
from resexp.config.settings import Config, require
from resexp.data.load import load
from resexp.errors import UserError
from resexp.model.network import Network
from resexp.storage.provenance import utc_now
from resexp.system.files import write_text
from resexp.system.machine import cores
from resexp.training.device import Execution, prepare
from resexp.training.engine import choose
from resexp.training.trainer import Trainer

SETTING = r"(?<![-.\w])(?:data\.train_)?(engine|precision|device|images)="  # as a message names what is an option here
Row = dict[str, Any]
Loop = tuple[Callable[[], object], nn.Module, str]  # one iteration, the network it trains, the engine that runs it


class Side(NamedTuple):
    """A loop that is compared, in some processes at once; a turn times `window` iterations, of deep networks fewer."""

    comparison: str
    side: str  # usual, resexp or bare; or resexp under another name
    network: str
    processes: int
    window: int
    settings: str  # of the run, as `resexp train` takes them


def own(config: Config, execution: Execution, bare: bool) -> Loop:
    """The project's own iterations, or its step alone."""
    trainer = Trainer(config, load(config.data), execution)
    images, labels = trainer.train_images(trainer.sampler.batch(1))

    def step(picks: Tensor, rate: float) -> None:
        trainer.step(images, labels, rate)

    if bare:
        trainer.eager = trainer.iterate = step
    engine = trainer.start_engine(choose(config.engine, execution))
    return trainer.advance, trainer.network, str(engine)


def usual(config: Config, execution: Execution) -> Loop:
    """The loop as people write it."""
    from torchvision import transforms

    def collate(pairs: list[tuple[Any, int]]) -> Any:
        return torch.utils.data.default_collate([(transform(image), label) for image, label in pairs])

    augment = [transforms.ToPILImage(), transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    transform = transforms.Compose([*augment, transforms.ToTensor(), transforms.Normalize((0.5,), (0.25,))])
    split, device = load(config.data).train, execution.device
    pairs: Any = list(zip(split.images.permute(0, 2, 3, 1).numpy(), split.labels.tolist(), strict=True))
    options: Row = {"shuffle": True, "drop_last": True, "num_workers": config.threads, "persistent_workers": True}
    options |= {"pin_memory": device.type == "cuda", "multiprocessing_context": "fork", "collate_fn": collate}
    batches = chain.from_iterable(repeat(torch.utils.data.DataLoader(pairs, config.recipe.batch_size, **options)))
    torch.backends.cudnn.allow_tf32 = True  # PyTorch's own default
    network = Network(config.model.depth, config.model.residual).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)

    def iterate() -> None:
        images, labels = (part.to(device) for part in next(batches))
        with execution.autocast():
            scores = network(images)
            loss = nn.functional.cross_entropy(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        (scores.argmax(1) != labels).sum().item()

    return iterate, network, "eager"


def prepared(side: Side) -> tuple[Config, Execution, Callable[[Config, Execution], Loop]]:
    """What a side trains, where, and how."""
    config = compose(f"model={side.network}", *side.settings.split())
    as_people_do = (side.side, config.precision) == ("usual", "auto")
    execution = prepare(replace(config, precision="fp32") if as_people_do else config)
    return config, execution, usual if side.side == "usual" else partial(own, bare=side.side == "bare")


class Kernels(TorchDispatchMode):
    """Counts, while it is entered, what PyTorch asks of the device: each operation but views and allocations."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one and do it."""
        name: str = func.overloadpacket.__name__
        self.counts[name] += not (func.is_view or name.startswith("empty"))
        return func(*args, **(kwargs or {}))


def count(side: Side) -> str:
    """The operations of an iteration as it is written, the most frequent first."""
    config, execution, loop = prepared(side)
    iterate = loop(replace(config, engine="eager"), execution)[0]
    iterate()
    with Kernels() as kernels:
        iterate()
    most = ", ".join(f"{times} {name}" for name, times in kernels.counts.most_common(8))
    return f"{side.network} {execution.precision} {side.side}: {kernels.counts.total()} operations; {most}"


def train(side: Side) -> None:
    """Be a process of a side: tell of the first iterations, then of a window for each line that comes in."""
    os.setpgrp()  # so that the workers of a loop are stopped with it
    config, execution, loop = prepared(side)
    with nullcontext() if side.side == "usual" else execution.own_stream():
        iterate, network, engine = loop(config, execution)
        for line in chain([""], sys.stdin):
            iterations, began = max(1, round(side.window * 20 / config.model.depth)) if line else 1, 0.0
            for _ in range(2):  # the first until caches and queues are again what they were
                began = time.monotonic()
                for _ in range(iterations):
                    iterate()
                if execution.device.type != "cpu":
                    torch.accelerator.synchronize(execution.device)
            timed: Row = {"began": began, "ended": time.monotonic(), "how": f"{engine} {execution.precision}"}
            weights = b"".join(tensor.cpu().numpy().tobytes() for tensor in network.state_dict().values())
            timed |= {"iterations": iterations, "digest": hashlib.sha256(weights).hexdigest()}
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (20 if sys.platform == "darwin" else 10)
            timed |= {"images": iterations * config.recipe.batch_size, "mb": execution.peak_memory_mb() or resident}
            print(json.dumps(timed), flush=True)


def running(side: Side, scratch: str) -> Generator[Row, None, None]:
    """Start a side's processes, let them train on each `next`, end them on `close`. Raises UserError if one fails."""
    environment = {**(ENVIRONMENT if side.side != "usual" else {}), **os.environ, "TMPDIR": scratch}
    environment.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(max(1, cores() // side.processes)))
    command = [sys.executable, __file__, "--side", json.dumps(side)]
    pipes: Row = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    began, startup = time.monotonic(), 0.0
    processes: list[Any] = [subprocess.Popen(command, **pipes) for _ in range(side.processes)]

    def send(number: int) -> None:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    try:
        while True:
            timed: list[Row] = [json.loads(line) for process in processes if (line := process.stdout.readline())]
            if len(timed) < len(processes):
                raise UserError(f"{side.comparison}: {side.side} failed, see above; --resume keeps what is measured")
            send(signal.SIGSTOP)
            seconds = max(one["ended"] for one in timed) - min(one["began"] for one in timed)
            startup = startup or round(time.monotonic() - began, 1)
            row: Row = {"seconds_startup": startup, "peak_memory_mb": sum(one["mb"] for one in timed)}
            row["images_per_second"] = round(sum(one["images"] for one in timed) / seconds, 2)
            row["seconds_per_iteration"] = round(seconds / timed[0]["iterations"], 6)
            yield row | {name: " ".join(sorted({one[name] for one in timed})) for name in ("how", "digest")}
            send(signal.SIGCONT)
            for process in processes:
                print("turn", file=process.stdin, flush=True)
    finally:
        send(signal.SIGKILL)
        for process in processes:
            process.kill()  # one that has no group yet
            process.communicate()


def measure(sides: list[Side], turns: int) -> list[Row]:
    """Start the sides one after another, then let them train turn by turn, every second time in reverse."""
    measured, rows = utc_now(), list[Row]()
    with ExitStack() as stack:
        scratch = stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True))  # for what killed workers leave
        loops = [(side, stack.enter_context(closing(running(side, scratch)))) for side in sides]
        for _, loop in loops:
            next(loop)
        for turn in range(turns):
            rows += [{**side._asdict(), "turn": turn, **next(loop)} for side, loop in loops[:: (-1) ** turn]]
    return [{name: str(value) for name, value in {**row, "measured": measured}.items()} for row in rows]


def mps() -> str:
    """Whether processes compute on a GPU at the same time, as NVIDIA's MPS lets them where its daemon answers."""
    try:
        subprocess.run(
            "nvidia-cuda-mps-control", input=b"get_server_list\n", check=True, capture_output=True, timeout=9
        )
        return " under MPS"
    except (OSError, subprocess.SubprocessError):
        pass
    remedy = "nvidia-cuda-mps-control -d starts one"
    print(f"--together: no MPS daemon answers, processes take turns on the GPU; {remedy}", file=sys.stderr)
    return " without MPS"


def plan(args: Namespace) -> Generator[list[Side], None, None]:
    """The sides of each comparison. Raises UserError for what cannot be measured here."""
    networks = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))
    depths = re.findall(r"resnet(\d+)", " ".join(networks))
    known: dict[str, list[str]] = {"networks": networks, "depths": depths, "measures": ["usual", "resexp", "bare"]}
    for option, value in vars(args).items():
        for one in value if isinstance(value, list) else [value]:
            choices, name = known.get(option, []), f"--{option.replace('_', '-')}"
            require(not choices or one in choices, name, one, f"choose from {', '.join(choices)}")
            require(type(one) is not int or one > 0, name, one, "must be 1 or more")
    require(args.images >= args.batch_size, "--images", args.images, "not one mini-batch; use --batch-size or more")
    require(len({*args.depths}) != 1, "--depths", ",".join(args.depths), "no line; name two depths or more")
    for engine, precision in product(args.engines, args.precisions):
        run = f"data=shapes data.image_size=32 data.test_images=10 data.train_images={args.images} recipe.drops=[]"
        run += f" recipe.iterations=1000000000 recipe.batch_size={args.batch_size} deterministic={args.deterministic}"
        run += f" device={args.device} engine={engine} precision={precision} threads="
        execution = prepare(config := compose(*f"{run}{args.threads}".split()))
        on_cpu = execution.device.type == "cpu"
        how = f"{choose(config.engine, execution)} {execution.precision}{' deterministic' * args.deterministic}"
        how += f" batch {args.batch_size} threads {args.threads} {execution.device}"
        settings = {n: f"{run}{max(1, args.threads // n) if on_cpu else args.threads}" for n in {1, *args.together}}
        side, shared = partial(Side, window=args.window), mps() if args.together and not on_cpu else ""
        for network in args.networks:
            yield [side(f"{network} {how}", loop, network, 1, settings=settings[1]) for loop in args.measures]
            for n in sorted({*args.together} - {1}):
                name = f"{network} x{n} {how}{shared}"
                yield [side(name, f"{m} at once", network, m, settings=settings[m]) for m in (1, n)]
        yield [side(f"depths {how}", depth, f"resnet{depth}", 1, settings=settings[1]) for depth in args.depths]


def spread(values: list[float], digits: int) -> str:
    """Median and quartiles, as text."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if values[1:] else 3 * values
    return f"{median:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def summary(rows: list[Row]) -> Generator[str, None, None]:
    """What follows from the rows: speeds, ratios of speeds of one turn, equal bits or not, seconds against depth."""
    for comparison in dict.fromkeys(row["comparison"] for row in rows):
        yield comparison
        sides: dict[str, dict[tuple[str, str], Row]] = {}
        for row in rows:
            if row["comparison"] == comparison:
                sides.setdefault(row["side"], {})[row["measured"], row["turn"]] = row
        seconds: dict[str, float] = {}
        for side, turns in sides.items():
            speed = spread([float(row["images_per_second"]) for row in turns.values()], 1)
            startups = ", ".join({row["measured"]: row["seconds_startup"] for row in turns.values()}.values())
            memory, how = max(int(row["peak_memory_mb"]) for row in turns.values()), [*turns.values()][-1]["how"]
            yield f"  {side:<9} {speed} images/s, {how}, start-up {startups} s, {memory:,} MB"
            seconds[side] = statistics.median(float(row["seconds_per_iteration"]) for row in turns.values())
        for top, bottom in permutations(sides, 2):
            both = [(row, sides[bottom][at]) for at, row in sides[top].items() if at in sides[bottom]]
            if both and (top == "resexp" or bottom == "1 at once"):
                ratios = [float(one["images_per_second"]) / float(other["images_per_second"]) for one, other in both]
                equal = all(one["digest"] == other["digest"] for one, other in both)
                alike = bottom == "1 at once" and all(one["settings"] == other["settings"] for one, other in both)
                bits = f", weights {'' if equal else 'not '}equal to the bit" if alike else ""
                yield f"  {top}/{bottom} {spread(ratios, 2)}{bits}"
        if comparison.startswith("depths"):
            # Divided by depth: residuals then count relatively, and the deepest network does not decide alone.
            line = {1 / int(side): value / int(side) for side, value in seconds.items()}
            intercept, slope = statistics.linear_regression([*line], [*line.values()])
            off = {abs(value / (intercept + slope * int(side)) - 1): side for side, value in seconds.items()}
            yield f"  seconds an iteration = {intercept:.6f} + {slope:.6f} * depth"
            yield f"  intercept worth {intercept / slope:.1f} layers"
            yield f"  largest relative residual {max(off):.1%}, of depth {off[max(off)]}"


def ticks() -> list[int]:
    """Time of the cores since the machine started: user, nice, system, idle, iowait, irq, softirq, stolen."""
    return [int(word) for word in Path("/proc/stat").read_text().split()[1:9]] if sys.platform == "linux" else [0] * 8


def main(arguments: list[str] | None = None) -> None:
    """Measure everything that is asked for and write it down."""
    parser = ArgumentParser("scripts/bench", SUPPRESS, __doc__, formatter_class=RawTextHelpFormatter)
    option, words = parser.add_argument, partial(re.findall, "[^,]+")
    option("--networks", type=words, default="resnet20,resnet56")
    option("--measures", type=words, default="usual,resexp,bare", help="loops to compare, on each network")
    option("--engines", type=words, default="auto", help="auto, eager, compile, graph, compile+graph")
    option("--precisions", type=words, default="auto", help="auto, fp32, tf32, bf16, fp16")
    option("--depths", type=words, default="", help="of resnets for a line: 20,32,44,56,110,1202")
    option("--together", type=lambda text: [*map(int, words(text))], default="", help="numbers of processes: 2,4,8")
    option("--deterministic", action="store_true", help="train with deterministic=true")
    option("--device", default="auto")
    option(
        "--threads",
        type=int,
        default=cores(),
        help="of a loop, shared by its processes on a CPU; and DataLoader workers of `usual`",
    )
    option("--batch-size", type=int, default=128)
    option("--images", type=int, default=10_000, help="in the training set")
    option("--window", type=int, default=10, help="iterations of 20 layers that a turn times, of more layers fewer")
    option("--turns", type=int, default=5, help="of each process")
    option("--repeats", type=int, default=2, help="of everything, in new processes")
    option(
        "--out",
        type=Path,
        default=Path(__file__).parents[1] / "results/bench/new",
        help="folder of bench.csv and summary.txt",
    )
    option("--resume", action="store_true", help="keep the rows of OUT/bench.csv, measure what it lacks")
    option("--kernels", action="store_true", help="count the operations of an iteration and time nothing")
    option("--side", help=SUPPRESS)
    args = parser.parse_args(arguments)
    if args.side:
        return train(Side(*json.loads(args.side)))
    file, before = args.out / "bench.csv", ticks()
    try:
        comparisons = [sides for sides in plan(args) if sides]
        if args.kernels:
            return print(*map(count, chain(*comparisons)), sep="\n")
        rows: list[Row] = [*csv.DictReader(file.read_text().splitlines())] if args.resume and file.exists() else []
        require(not rows or "comparison" in rows[0], "--resume", True, f"{file} has other columns; name another --out")
        with suppress(OSError):
            args.out.mkdir(parents=True, exist_ok=True)
        require(os.access(args.out, os.W_OK | os.X_OK), "--out", args.out, "cannot be written; name another folder")
        for number, sides in product(range(args.repeats), comparisons):
            known = {(row["comparison"], row["side"], row["measured"]) for row in rows}
            if min(sum(key[:2] == side[:2] for key in known) for side in sides) <= number:
                rows += measure(sides, args.turns)
                write_text(file, "\n".join(map(",".join, [rows[0], *(row.values() for row in rows)])) + "\n")
                print(*summary(rows[-len(sides) * args.turns :]), sep="\n", file=sys.stderr)
    except (UserError, OSError, KeyboardInterrupt) as error:
        sys.exit("scripts/bench: " + re.sub(SETTING, r"--\1=", str(error) or "stopped; --resume goes on"))
    spent = [after - earlier for after, earlier in zip(ticks(), before, strict=True)]
    lines = [*summary(rows), f"{spent[-1] / max(sum(spent), 1):.1%} of the cores' time was stolen by the hypervisor"]
    write_text(args.out / "summary.txt", "\n".join(lines) + "\n")
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()

"""How fast a device trains one network, and several at once in one process: which engine, and how many, do most work.

    python scripts/sharing.py choice.csv --engines graph,compile+graph --precisions tf32,bf16

Half of the networks are ResNet-20, half ResNet-56; each trains on a stream of its own. A row for each engine, precision
and number of networks: milliseconds an iteration of one network, images a second of all, and what that is worth: the
work of how many devices that train one network each. On a CPU the networks take turns, and nothing is gained.
"""

import json
import os
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from itertools import product
from pathlib import Path

import torch

from resexp.config.compose import compose
from resexp.data.load import load
from resexp.formatting import csv_text
from resexp.system.files import write_text
from resexp.training import turns
from resexp.training.device import prepare
from resexp.training.engine import ENGINES
from resexp.training.trainer import Trainer

NETWORKS = ("resnet20", "resnet56")
AHEAD = 20
"""Iterations that a network may be ahead of its device."""


class Several:
    """Networks of one process, each on its own stream."""

    def __init__(self, engine: str, precision: str, args: Namespace) -> None:
        turns.PASS_TURN.set(lambda: None)  # what is compiled for one serves all
        images, data = f"data.train_images={args.images} data.test_images=10", None
        self.trainers: list[Trainer] = []
        self.streams: list[torch.cuda.Stream | None] = []
        for seed in range(args.several):
            run = f"model={NETWORKS[seed % 2]} seed={seed} data=shapes data.image_size={args.image_size} {images}"
            run += f" recipe.drops=[] recipe.batch_size={args.batch_size} device={args.device} threads=1"
            config = compose(*f"{run} engine={engine} precision={precision}".split())
            data = data or load(config.data)
            execution = prepare(config)
            stream = torch.cuda.Stream() if execution.device.type == "cuda" else None
            with torch.cuda.stream(stream):  # None: nothing
                trainer = Trainer(config, data, execution)
                if str(trainer.start_engine(ENGINES[engine])) != engine:
                    sys.exit(f"engine={engine}: not to be had here")
            self.trainers.append(trainer)
            self.streams.append(stream)
        self.batch_size = args.batch_size

    def train(self, numbers: list[int], seconds: float) -> list[float]:
        """Let some of them train for a while: iterations a second of each."""
        done = dict.fromkeys(numbers, 0)
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            for number in numbers:
                stream = self.streams[number]
                if stream is not None and done[number] % AHEAD == 0 and not stream.query():
                    continue
                with torch.cuda.stream(stream):
                    self.trainers[number].advance()
                done[number] += 1
        for trainer in self.trainers:
            trainer.check_finite()  # waits for the device
        spent = time.monotonic() - began
        return [done[number] / spent for number in numbers]

    def rows(self, seconds: float) -> list[dict[str, str]]:
        """One network of each kind alone, then four and all of them at once."""
        alone = [self.train([number], seconds)[0] for number in range(2)]
        images = 2 * self.batch_size / sum(1 / rate for rate in alone)
        rows = [row(1, alone, images, 1.0)]
        for at_once in sorted({min(4, len(self.trainers)), len(self.trainers)}):
            rates = self.train([*range(at_once)], seconds)
            worth = sum(rate / alone[number % 2] for number, rate in enumerate(rates))
            rows.append(row(at_once, rates, worth * images, worth))
        return rows


def row(at_once: int, rates: list[float], images: float, worth: float) -> dict[str, str]:
    """Numbers as text. Images count as those of the mixture that trains one after another."""
    each = {
        f"{name}_ms": f"{1e3 * len(rates[kind::2]) / sum(rates[kind::2]):.2f}" for kind, name in enumerate(NETWORKS)
    }
    return {"at_once": str(at_once), **each, "images_per_second": f"{images:.0f}", "worth": f"{worth:.2f}"}


def main() -> None:
    """Set up a process for each engine and precision at the same time, then measure one after another."""
    parser = ArgumentParser("scripts/sharing.py")
    option = parser.add_argument
    option("out", type=Path, help="CSV file")
    option("--engines", default="", help="graph,compile+graph on CUDA, else eager")
    option("--precisions", default="bf16")
    option("--several", type=int, default=8, help="networks of a process, an even number up to 32")
    option("--seconds", type=float, default=2.5, help="of each measurement")
    option("--device", default="cuda")
    option("--images", type=int, default=10_000)
    option("--image-size", type=int, default=32)
    option("--batch-size", type=int, default=128)
    option("--one", default="", help="(of its own use) be the process of ENGINE:PRECISION")
    args = parser.parse_args()
    if args.several not in range(2, 33, 2):
        parser.error(f"--several={args.several}: an even number from 2 to 32")
    if args.one:
        engine, precision = args.one.split(":")
        several = Several(engine, precision, args)
        print("ready", flush=True)
        if sys.stdin.readline():
            print(json.dumps(several.rows(args.seconds)), flush=True)
        return
    engines = args.engines or ("graph,compile+graph" if args.device.startswith("cuda") else "eager")
    kinds = [*product(engines.split(","), args.precisions.split(","))]
    started = [
        subprocess.Popen(
            [sys.executable, *sys.argv, "--one", ":".join(kind)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"TORCHINDUCTOR_COMPILE_THREADS": "2", **os.environ},  # each would start one for each core
        )
        for kind in kinds
    ]
    rows: list[dict[str, str]] = []
    for kind, process in zip(kinds, started, strict=True):
        assert process.stdin
        assert process.stdout
        if process.stdout.readline() == "ready\n":  # one that cannot be set up has said why
            with suppress(BrokenPipeError):
                print("go", file=process.stdin, flush=True)
            told = process.stdout.readline()
            rows += [{"engine": kind[0], "precision": kind[1], **found} for found in json.loads(told or "[]")]
            if rows:  # all there is so far, should time run out
                write_text(args.out, csv_text(tuple(rows[0]), [[*row.values()] for row in rows]))
        process.kill()
        process.wait()
    if not rows:
        sys.exit("nothing could be measured, see above")


if __name__ == "__main__":
    main()

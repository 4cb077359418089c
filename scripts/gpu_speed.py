"""How fast a GPU trains one network, several on streams of one process, and several processes: what to choose there.

Each worker sets its networks up and waits; then one after another they train for some seconds while the others stand
still. A line for each: milliseconds an iteration of each network, and how many GPUs of one network each they are worth.
Under MPS the processes of the last lines share the GPU; without it they take it in turn.
"""

import json
import os
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import torch

from resexp.config.compose import compose
from resexp.data.load import load
from resexp.training import turns
from resexp.training.device import prepare
from resexp.training.engine import ENGINES
from resexp.training.trainer import Trainer

AHEAD = 100
"""Iterations that a network may be ahead of its device: a row, as in training."""


def work(engine: str, precision: str, networks: list[str], device: str) -> None:
    """Set networks up, then train some of them for each line of stdin: [[indices], seconds]."""
    turns.PASS_TURN.set(lambda: None)  # what is compiled serves all
    data: Any = None
    trainers: list[tuple[Trainer, Any]] = []
    images = 10_000 if device == "cuda" else 256
    for seed, name in enumerate(networks):
        run = f"model={name} data=shapes data.image_size=32 data.test_images=10 data.train_images={images} seed={seed}"
        run += f" recipe.drops=[] device={device} threads=1 engine={engine} precision={precision}"
        config = compose(*run.split())
        data = data or load(config.data)
        execution = prepare(config)
        stream = torch.cuda.Stream() if device == "cuda" else None
        with torch.cuda.stream(stream):
            trainer = Trainer(config, data, execution)
            started = trainer.start_engine(ENGINES[engine])
            if str(started) != engine:
                sys.exit(f"{engine} is not to be had here")
        trainers.append((trainer, stream))
    if device == "cuda":
        torch.cuda.synchronize()
    print("ready", flush=True)
    for line in sys.stdin:
        indices, seconds = json.loads(line)
        done = dict.fromkeys(indices, 0)
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            for index in indices:
                trainer, stream = trainers[index]
                if stream is not None and done[index] % AHEAD == 0 and not stream.query():
                    continue
                with torch.cuda.stream(stream):
                    trainer.advance()
                done[index] += 1
        if device == "cuda":
            torch.cuda.synchronize()
        spent = time.monotonic() - began
        finite = all(bool(torch.isfinite(trainers[index][0].loss_sum)) for index in indices)
        print(json.dumps([[done[index] / spent for index in indices], finite]), flush=True)


class Workers:
    """Processes of one kind."""

    def __init__(
        self, engine: str, precision: str, networks: list[str], processes: int, device: str, mps: str = ""
    ) -> None:
        environment = {**os.environ, "CUDA_MPS_PIPE_DIRECTORY": mps or "/nonexistent"}
        self.name, self.networks = f"{engine} {precision}", networks
        self.command = [sys.executable, __file__, "--work", json.dumps([engine, precision, networks, device])]
        began = time.monotonic()
        self.began = began
        self.processes = [
            subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
            for _ in range(processes)
        ]

    def ready(self) -> bool:
        """Wait until all are set up."""
        ready = all(process.stdout.readline() == "ready\n" for process in self.processes)
        print(
            f"{self.name} x{len(self.processes)}: {'ready' if ready else 'FAILED'} after {time.monotonic() - self.began:.0f} s",
            flush=True,
        )
        return ready

    def train(self, indices: list[int], seconds: float) -> list[float]:
        """Iterations a second of each network of each process."""
        for process in self.processes:
            print(json.dumps([indices, seconds]), file=process.stdin, flush=True)
        found: list[float] = []
        for process in self.processes:
            rates, finite = json.loads(process.stdout.readline())
            assert finite
            found += rates
        return found

    def close(self) -> None:
        """End them."""
        for process in self.processes:
            process.kill()


def main() -> None:
    """Measure."""
    parser = ArgumentParser()
    parser.add_argument("--work")
    parser.add_argument("--kinds", default="graph:tf32,graph:bf16,graph:fp32,compile+graph:tf32,compile+graph:bf16")
    parser.add_argument("--several", type=int, default=12)
    parser.add_argument("--processes", default="graph:tf32")
    parser.add_argument("--seconds", type=float, default=2.5)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--mps", default="", help="pipe directory of an MPS daemon, for the processes")
    parser.add_argument("--after", type=Path, help="wait for this file before anything is measured")
    args = parser.parse_args()
    if args.work:
        return work(*json.loads(args.work))
    networks = ["resnet20", "resnet56"] * (args.several // 2)
    pick = lambda text: [kind.split(":") for kind in text.split(",") if kind]
    together = [Workers(engine, precision, networks, 1, args.device) for engine, precision in pick(args.kinds)]
    apart = [
        [Workers(engine, precision, [name], args.several // 2, args.device, args.mps) for name in networks[:2]]
        for engine, precision in pick(args.processes)
    ]
    alone: dict[str, list[float]] = {}

    def tell(name: str, what: str, rates: list[float], names: list[str]) -> None:
        each = {one: [rate for rate, of in zip(rates, names) if of == one] for one in dict.fromkeys(names)}
        worth = sum(rate / alone[name][networks.index(of)] for rate, of in zip(rates, names))
        ms = ", ".join(f"{one} {1e3 * len(found) / sum(found):.2f} ms" for one, found in each.items())
        print(f"{name:<20} {what:<22} {ms}; worth {worth:.2f}", flush=True)

    usable = [workers for workers in together if workers.ready()]
    apart = [pair for pair in apart if all([workers.ready() for workers in pair])]
    waited = time.monotonic()
    while args.after and not args.after.exists() and time.monotonic() - waited < 90:
        time.sleep(0.5)
    print(f"waited {time.monotonic() - waited:.0f} s for {args.after}", flush=True)
    for workers in usable:
        alone[workers.name] = [workers.train([index], args.seconds)[0] for index in (0, 1)]
        tell(workers.name, "alone", alone[workers.name], networks[:2])
        for n in sorted({min(4, args.several), args.several}):
            tell(workers.name, f"{n} streams", workers.train([*range(n)], args.seconds), networks[:n])
    for pair in apart:
        for workers in pair:
            for process in workers.processes:
                print(json.dumps([[0], 2 * args.seconds]), file=process.stdin, flush=True)
        rates = [json.loads(process.stdout.readline())[0][0] for workers in pair for process in workers.processes]
        names = [workers.networks[0] for workers in pair for _ in workers.processes]
        if pair[0].name in alone:
            tell(pair[0].name, f"{len(names)} processes", rates, names)
        else:
            print(pair[0].name, rates)
    for workers in [*together, *(workers for pair in apart for workers in pair)]:
        workers.close()


if __name__ == "__main__":
    main()

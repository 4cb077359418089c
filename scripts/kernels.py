"""Which kernels a training iteration consists of on a GPU (on a CPU: which operators), and the time of each.

    python scripts/kernels.py compile+graph resnet20 --precision bf16

Milliseconds an iteration without the profiler first, three times; then a line for each kernel: how often it runs in an
iteration, microseconds each, its share of all of them. They add up to the iteration where the device is never idle.
"""

import time
from argparse import ArgumentParser
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from resexp.config.compose import compose
from resexp.data.load import load
from resexp.training.device import prepare
from resexp.training.engine import choose
from resexp.training.trainer import Trainer

PROFILED = 20
"""Iterations."""


def main() -> None:
    """Measure one network."""
    parser = ArgumentParser("scripts/kernels.py")
    option = parser.add_argument
    option("engine")
    option("network")
    option("--precision", default="bf16")
    option("--device", default="auto")
    option("--iterations", type=int, default=300, help="of each of the three measurements")
    option("--lines", type=int, default=45, help="kernels to show, those that take most time")
    option("settings", nargs="*", help="more settings of resexp train")
    args = parser.parse_intermixed_args()
    run = f"model={args.network} data=shapes data.image_size=32 data.train_images=10000 data.test_images=10"
    run += f" recipe.batch_size=128 recipe.drops=[] threads=1 engine={args.engine} precision={args.precision}"
    config = compose(*f"{run} device={args.device}".split(), *args.settings)
    execution = prepare(config)
    cuda = execution.device.type == "cuda"

    def train(iterations: int) -> None:
        for _ in range(iterations):
            trainer.advance()
        if cuda:
            torch.cuda.synchronize()

    with execution.own_stream():
        trainer = Trainer(config, load(config.data), execution)
        engine = trainer.start_engine(choose(config.engine, execution))
        train(min(10, args.iterations))
        for _ in range(3):
            began = time.monotonic()
            train(args.iterations)
            spent = 1e3 * (time.monotonic() - began) / args.iterations
            print(f"{args.network} {engine} {execution.precision}: {spent:.3f} ms an iteration")
        profiled = min(PROFILED, args.iterations)
        with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as profiler:
            train(profiled)

    def took(kernel: Any) -> float:
        return kernel.self_device_time_total if cuda else kernel.self_cpu_time_total

    kernels: list[Any] = sorted(profiler.key_averages(), key=took, reverse=True)
    total, count = sum(map(took, kernels)), sum(kernel.count for kernel in kernels if took(kernel) > 0)
    print(f"{count / profiled:.0f} kernels, {total / profiled:.0f} us of their time an iteration")
    for kernel in kernels[: args.lines]:
        each, share = took(kernel) / kernel.count, took(kernel) / total
        print(f"{kernel.count / profiled:6.1f} x {each:8.2f} us {share:6.1%}  {kernel.key[:150]}")


if __name__ == "__main__":
    main()

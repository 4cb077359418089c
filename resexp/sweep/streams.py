"""`hydra/launcher=streams`: several runs at once in one process, in turn, on a GPU each on a stream of its own."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from itertools import accumulate
from queue import SimpleQueue
from threading import Thread

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn

from resexp.config.settings import Config, require
from resexp.errors import Interrupted, UserError
from resexp.model.cost import device_memory
from resexp.sweep.sweeper import AHEAD, composed
from resexp.system.memory import size
from resexp.system.signals import Stop
from resexp.training.importing import import_training
from resexp.training.turns import Turns

log = logging.getLogger("resexp")

SHARED = ("device", "precision", "deterministic", "threads")
"""Settings that PyTorch keeps for the whole process."""
STREAMS = 32
"""On a GPU, as many as PyTorch has; a run more would share one."""
USABLE = 0.8
"""Of the memory that is free: the rest is for evaluations and for what an allocator leaves between its blocks."""


class StreamsLauncher(BasicLauncher):
    """Hydra's launcher for one process, in which several runs train by turns, one iteration each."""

    def __init__(self, at_once: int) -> None:
        super().__init__()
        self.at_once = at_once

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Train the runs, each to the bits that it has alone, at once as many as are asked for and fit.

        Where no launcher was asked for, and several at once do not pay, they are trained one after another.

        Raises UserError for runs that cannot share a process, Interrupted when a signal came (each run is saved then),
        BrokenProcess when the process can compute no more.
        """
        number = type(self.at_once) is int and self.at_once > 0
        require(number, "hydra.launcher.at_once", self.at_once, "must be a number from 1 on")
        assert self.config is not None
        assert self.hydra_context is not None
        configs = composed(self.hydra_context, self.config, job_overrides)
        if self.config.hydra.runtime.choices["hydra/launcher"] != "auto":
            refuse_what_differs(configs)
        elif worthwhile(configs):
            log.info("several runs at once on the GPU; hydra/launcher=basic trains one after another")
        else:
            return super().launch(job_overrides, initial_job_idx)
        at_once = fitting(configs, self.at_once)
        os.environ["TQDM_DISABLE"] = "1"  # lines, since several bars overwrite each other
        if ahead := AHEAD.get():
            AHEAD.set(replace(ahead, at_once=at_once))
        turns, results = Turns(), dict[int, JobReturn]()
        jobs = iter(enumerate(job_overrides, initial_job_idx))
        ended: SimpleQueue[BaseException | None] = SimpleQueue()
        with Stop() as stop:

            def work() -> None:
                error: BaseException | None = None
                try:
                    with turns.taking_part():
                        self.work(jobs, stop, results)
                except BaseException as raised:  # what ends the whole sweep is raised in the main thread
                    error = raised
                ended.put(error)

            threads = [Thread(target=copy_context().run, args=(work,), daemon=True) for _ in range(at_once)]
            for thread in threads:
                thread.start()
            errors = [error for error in [ended.get() for _ in threads] if error]
        if errors:
            raise errors[0]
        return [results[number] for number in sorted(results)]

    def work(self, jobs: Iterator[tuple[int, Sequence[str]]], stop: Stop, results: dict[int, JobReturn]) -> None:
        """Train one run after another, until none is left. Raises Interrupted, BrokenProcess."""
        for number, overrides in jobs:
            if stop.signal is not None:
                raise Interrupted(stop.signal)
            (results[number],) = super().launch([overrides], number)


def refuse_what_differs(configs: list[Config]) -> None:
    """Raise UserError where two runs want different things of the process."""
    for name in SHARED:
        wanted = {str(getattr(config, name)) for config in configs}
        if len(wanted) > 1:
            several = ",".join(sorted(wanted))
            raise UserError(f"{name}={several}: hydra/launcher=streams needs one for all runs; sweep it without")


def worthwhile(configs: list[Config]) -> bool:
    """Whether these runs should share a device: on a GPU several do the work of up to two (docs/speed.md)."""
    if len(configs) < 2 or configs[0].device == "cpu":
        return False
    with suppress(UserError):  # for runs of which each will say it
        refuse_what_differs(configs)
        import_training(configs[0])
        from resexp.training.device import prepare

        return prepare(configs[0]).device.type == "cuda"
    return False


def fitting(configs: list[Config], wanted: int) -> int:
    """How many of the runs to train at once, at most `wanted` and at least one: any of them fit. Says so if fewer.

    Raises UserError for a device or precision that this machine does not have.
    """
    from resexp.training.device import prepare  # torch, only to train

    execution, wanted = prepare(configs[0]), min(wanted, len(configs))
    alike = (replace(config, precision=execution.precision) for config in configs)
    largest = sorted((sum(device_memory(config).values()) for config in alike), reverse=True)
    free = execution.free_memory()
    fit = len(configs) if free is None else sum(total <= USABLE * free for total in accumulate(largest))
    at_once = min(wanted, STREAMS, max(1, fit))
    if at_once < wanted:
        why = f"{size(free)} of memory are free" if free and fit < STREAMS else "PyTorch has no more streams"
        log.info("hydra.launcher.at_once: %d of %d runs at once, %s; the others follow", at_once, len(configs), why)
    return at_once

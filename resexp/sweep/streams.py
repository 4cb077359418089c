"""`hydra/launcher=streams`: several runs at once in one process, in turn, on a GPU each on a stream of its own."""

import os
from collections.abc import Iterator, Sequence
from contextvars import copy_context
from dataclasses import replace
from queue import SimpleQueue
from threading import Thread

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn

from resexp.config.settings import require
from resexp.errors import BrokenProcess, Interrupted, UserError
from resexp.sweep.sweeper import AHEAD, composed
from resexp.system.signals import Stop
from resexp.training.turns import Turns

STREAMS = 32
"""On a GPU, as many as PyTorch has; a run more would share one."""
SHARED = ("device", "precision", "deterministic", "threads")
"""Settings that PyTorch keeps for the whole process."""


class StreamsLauncher(BasicLauncher):
    """Hydra's launcher for one process, in which several runs train by turns, one iteration each."""

    def __init__(self, at_once: int) -> None:
        super().__init__()
        self.at_once = at_once

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Train the runs, each to the bits that it has alone.

        Raises UserError for runs that cannot share a process, Interrupted when a signal came (each run is saved then),
        BrokenProcess as soon as the process can compute no more.
        """
        number = type(self.at_once) is int and 0 < self.at_once <= STREAMS
        require(number, "hydra.launcher.at_once", self.at_once, f"must be a number from 1 to {STREAMS}")
        self.refuse_what_differs(job_overrides)
        os.environ["TQDM_DISABLE"] = "1"  # lines, since several bars overwrite each other
        if ahead := AHEAD.get():
            AHEAD.set(replace(ahead, at_once=min(self.at_once, len(job_overrides))))
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

            threads = [Thread(target=copy_context().run, args=(work,), daemon=True) for _ in range(self.at_once)]
            for thread in threads[: len(job_overrides)]:
                thread.start()
            errors = list[BaseException]()
            for _ in threads[: len(job_overrides)]:
                if error := ended.get():
                    errors.append(error)
                if isinstance(error, BrokenProcess):
                    raise error  # the others wait for a turn that never comes
        if errors:
            raise errors[0]
        return [results[number] for number in sorted(results)]

    def work(self, jobs: Iterator[tuple[int, Sequence[str]]], stop: Stop, results: dict[int, JobReturn]) -> None:
        """Train one run after another, until none is left. Raises Interrupted, BrokenProcess."""
        for number, overrides in jobs:
            if stop.signal is not None:
                raise Interrupted(stop.signal)
            (results[number],) = super().launch([overrides], number)

    def refuse_what_differs(self, job_overrides: Sequence[Sequence[str]]) -> None:
        """Raise UserError where two runs want different things of the process."""
        assert self.config is not None
        assert self.hydra_context is not None
        configs = composed(self.hydra_context, self.config, job_overrides)
        for name in SHARED:
            wanted = {str(getattr(config, name)) for config in configs}
            if len(wanted) > 1:
                several = ",".join(sorted(wanted))
                raise UserError(f"{name}={several}: hydra/launcher=streams needs one for all runs; sweep it without")

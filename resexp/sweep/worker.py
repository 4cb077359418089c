"""A run of a sweep in another process than the command's own: its log, its signals and its share of the machine."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from hydra.types import TaskFunction
from omegaconf import DictConfig

from resexp.config.compose import to_config
from resexp.errors import BrokenProcess, Interrupted, only_text
from resexp.sweep.outcome import Outcome
from resexp.sweep.sweeper import AHEAD, Ahead
from resexp.system.logs import log_to_console
from resexp.system.machine import WORKER, claim_worker_number
from resexp.system.signals import Stop

THIS_PROCESS = uuid4().hex
"""A pid would not do: jobs on other machines have theirs."""


@dataclass(frozen=True)
class Worker:
    """A sweep's task, to be called wherever a launcher sends it. Called where it was made, it is the task."""

    task: TaskFunction
    environment: dict[str, str] = field(default_factory=dict[str, str])
    """Variables that are set before the task begins."""
    numbers: Path | None = None
    """Folder in which the workers of one machine find out which number each is."""
    ahead: Ahead | None = None
    home: str = THIS_PROCESS

    def __call__(self, cfg: DictConfig) -> Outcome:
        """Do the task. One that a signal stops, or that a signal came before, is an outcome and no exception."""
        if self.home == THIS_PROCESS:
            return self.task(cfg)
        os.environ.update(self.environment)
        AHEAD.set(self.ahead)
        if self.numbers is not None and WORKER not in os.environ:
            claim_worker_number(self.numbers)
        log_to_console()
        name = str(to_config(cfg).directory)
        stop = Stop(patient=True).__enter__()  # never left: a signal between two runs stops the second
        if stop.signal is not None:
            return Outcome(name, "not started", Interrupted(stop.signal))
        try:
            return self.task(cfg)
        except Interrupted as stopped:
            return Outcome(name, "interrupted", stopped)
        except BrokenProcess as broken:
            return Outcome(name, "failed", only_text(broken))

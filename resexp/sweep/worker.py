"""A run of a sweep in another process than the command's own: its log, its signals and its share of the machine."""

import os
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from hydra.types import TaskFunction
from omegaconf import DictConfig

from resexp.config.compose import to_config
from resexp.errors import Interrupted
from resexp.sweep.sweeper import Outcome
from resexp.system.logs import log_to_console
from resexp.system.machine import WORKER, claim_worker_number
from resexp.system.signals import Stop

THIS_PROCESS = uuid4().hex
"""A pid would not do: jobs on other machines have theirs."""


@dataclass(frozen=True)
class Worker:
    """A sweep's task, to be called wherever a launcher sends it. Called where it was made, it is the task."""

    task: TaskFunction
    environment: dict[str, str]
    """Variables that are set before the task begins."""
    numbers: Path | None = None
    """Folder in which the workers of one machine find out which number each is."""
    home: str = THIS_PROCESS

    def __call__(self, cfg: DictConfig) -> Outcome:
        """Do the task; one that a signal stops, or comes after a signal, is told and not raised."""
        if self.home == THIS_PROCESS:
            return self.task(cfg)
        os.environ.update(self.environment)
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

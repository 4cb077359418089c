"""`hydra/launcher=joblib`: several runs at once on one machine, each in a process of its own."""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_joblib_launcher import joblib_launcher

from resexp.errors import Interrupted, UserError
from resexp.sweep.sweeper import AHEAD
from resexp.sweep.worker import Worker
from resexp.system.machine import default_threads
from resexp.system.signals import Stop


class JoblibLauncher(joblib_launcher.JoblibLauncher):
    """Hydra's launcher, with the machine divided among the runs, and with signals that reach them."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Train the runs, some at once. Where a worker was killed, no run has a result. Raises Interrupted."""
        assert self.config is not None
        assert self.task_function is not None
        self.joblib["batch_size"] = 1  # else a run may wait for another while a core is idle
        ahead = AHEAD.get()
        assert ahead is not None
        self.joblib["n_jobs"] = at_once = self.runs_at_once(ahead.runs)
        # The same however many runs are still to do, so that a repeated sweep ends with the same bits.
        share = str(max(1, default_threads() // at_once))
        environment = {
            "OMP_NUM_THREADS": share,
            "TORCHINDUCTOR_COMPILE_THREADS": share,
            "TQDM_DISABLE": "1",  # lines, since the bars of several processes overwrite each other
        }
        scratch = Path(self.config.hydra.sweep.dir)
        if at_once > 1:
            self.task_function = Worker(self.task_function, environment, scratch, replace(ahead, at_once=at_once))
        with Stop(pass_on=send_to_workers) as stop:
            try:
                return super().launch(job_overrides, initial_job_idx)
            except BrokenProcessPool as error:
                if stop.signal is not None:
                    raise Interrupted(stop.signal) from error
                cause = "a process that trained was killed, perhaps because memory ran out, and the others with it"
                problem = UserError(f"{cause}; the same command resumes, or use a smaller hydra.launcher.n_jobs")
                return [JobReturn(status=JobStatus.FAILED, _return_value=problem) for _ in job_overrides]

    def runs_at_once(self, runs: int) -> int:
        """How many of a sweep's runs are trained at once. Raises UserError for a number that cannot be."""
        wanted: Any = self.joblib["n_jobs"]
        try:
            most: Any = joblib.effective_n_jobs(wanted)
        except (ValueError, TypeError) as error:
            rule = "a number of runs at once, or -1 for as many as there are cores"
            raise UserError(f"hydra.launcher.n_jobs={wanted}: {rule}") from error
        return min(most, runs)


def send_to_workers(number: int) -> None:
    """Send a signal to each process that trains."""
    for process in multiprocessing.active_children():
        if process.pid is not None:
            with suppress(ProcessLookupError):  # one that has just ended
                os.kill(process.pid, number)

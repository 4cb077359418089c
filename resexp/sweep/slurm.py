"""`hydra/launcher=slurm`: each run is a Slurm job, sent with submitit; one that is stopped is requeued and resumes."""

import logging
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any

import submitit
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_submitit_launcher import submitit_launcher
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError

from resexp.errors import Interrupted, UserError
from resexp.sweep.worker import Worker
from resexp.system.signals import Stop

log = logging.getLogger("resexp")

SECONDS_BETWEEN_LOOKS = 1
SECONDS_BETWEEN_QUESTIONS = 10
"""To the scheduler, which serves everybody."""

Job = submitit.Job[JobReturn]


class SlurmLauncher(submitit_launcher.SlurmLauncher):
    """Hydra's launcher, for runs that resume, with a result for each job, however it ended."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit the runs and wait for them. Raises Interrupted if a signal comes; the jobs keep running."""
        assert self.task_function is not None
        self.task_function = Worker(self.task_function)
        jobs = self.send(job_overrides, initial_job_idx)
        sent = jobs[0].job_id.partition("_")[0]
        log.info("sent %d runs to Slurm as job %s; their logs come to %s", len(jobs), sent, jobs[0].paths.folder.parent)
        with Stop() as stop:
            wait(jobs, stop)
        if stop.signal is not None:
            log.info("the jobs keep running; scancel %s ends them, resexp status shows how far they are", sent)
            raise Interrupted(stop.signal)
        return [result(job) for job in jobs]

    def send(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[Job]:
        """Hand the runs to Slurm, as one array of jobs. Raises UserError where it does not take them."""
        state = Singleton.get_state()
        jobs = [(list(one), "hydra.sweep.dir", first + n, str(first + n), state) for n, one in enumerate(job_overrides)]
        try:
            return self.executor().map_array(self, *zip(*jobs, strict=True))
        except (FailedJobError, FailedSubmissionError, RuntimeError) as error:
            lines = "; ".join(line for line in str(error).splitlines() if line.strip())
            raise UserError(f"hydra/launcher: Slurm does not take the runs: {lines}") from error

    def executor(self) -> submitit.AutoExecutor:
        """What sends jobs, with the settings of hydra.launcher."""
        settings = {key: value for key, value in self.params.items() if value is not None}
        folder, timeouts = settings.pop("submitit_folder"), settings.pop("max_num_timeout")
        general = {field.name for field in fields(BaseQueueConf)}
        executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=timeouts)
        executor.update_parameters(**{key if key in general else f"slurm_{key}": settings[key] for key in settings})
        return executor

    def __call__(self, sweep_overrides: list[str], *arguments: Any) -> JobReturn:
        """Do one run, in the job. A run that is stopped gives no result: the job comes back, or was cancelled."""
        again = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        # A run that comes back is not to start over; and Hydra's folder for a job is where submitit's is.
        own = [f"hydra.sweep.dir='{submitit.JobEnvironment().paths.folder}'", *["fresh=false"] * bool(again)]
        with Stop(patient=True) as stop:
            done = super().__call__([*sweep_overrides, *own], *arguments)
        if isinstance(getattr(done._return_value, "error", None), Interrupted):
            assert stop.signal is not None
            if stop.signal == signal.SIGUSR2:
                try:
                    os.kill(os.getpid(), stop.signal)  # submitit has its handler back, and requeues
                except subprocess.CalledProcessError as error:
                    if error.returncode >= 0:  # else Slurm has stopped it with the job that it requeues
                        raise
            raise SystemExit(128 + stop.signal)
        return done


def wait(jobs: list[Job], stop: Stop) -> None:
    """Return when each job has given its result or has left the queue without one, or when a signal has come."""
    missing: set[str] = set()
    lost: set[str] = set()
    last_question, last_line = -SECONDS_BETWEEN_QUESTIONS, ""
    while stop.signal is None:
        waiting = [job for job in jobs if job.job_id not in lost and not has_result(job)]
        if not waiting:
            break
        if time.monotonic() - last_question >= SECONDS_BETWEEN_QUESTIONS:
            last_question = time.monotonic()
            with suppress(OSError, subprocess.SubprocessError):  # a scheduler that does not answer is asked again
                queue = queued()
                absent = {job.job_id for job in waiting} - queue.keys()
                lost |= absent & missing  # twice: the result may come a little after the end of the job
                missing = absent
                states = Counter(queue[job.job_id].lower() for job in waiting if job.job_id in queue)
                others = [f"{number} {state}" for state, number in sorted(states.items())]
                line = ", ".join([f"{len(jobs) - len(waiting)} of {len(jobs)} runs done", *others])
                if line != last_line:
                    log.info("Slurm: %s", line)
                last_line = line
        time.sleep(SECONDS_BETWEEN_LOOKS)


def has_result(job: Job) -> bool:
    """Whether the job has written what became of its run."""
    folder = job.paths.folder
    with suppress(OSError):
        folder.chmod(folder.stat().st_mode)  # makes a network file system look again
    return job.paths.result_pickle.exists()


def queued() -> dict[str, str]:
    """This user's jobs that wait or run, and their states, from squeue: not every cluster keeps accounts."""
    command = ["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i %T"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    return dict((job, state) for job, _, state in (line.partition(" ") for line in lines))


def result(job: Job) -> JobReturn:
    """What became of a job's run."""
    problem = "was cancelled or killed"
    if has_result(job):
        try:
            return job.results()[0]
        except UncompletedJobError:
            problem = "failed"
    error = UserError(f"its job {job.job_id} {problem}; see {job.paths.stdout}")
    return JobReturn(status=JobStatus.FAILED, _return_value=error)

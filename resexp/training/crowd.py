"""Whether a run has the cores that its threads need."""

import resource
import time

from resexp.training.device import Execution

AFTER = 10.0
"""Seconds of training that are looked at."""
CROWDED = 50.0
"""Times a second that a thread loses its core: 1 to 13 alone, 180 to 370 where two runs of two threads share two cores.

Threads wait for each other many times an iteration. Two such runs together did a fifth of the work of one alone in
fp32, and a 36th in bf16 on a Xeon with AMX, where oneDNN's threads do not give their cores away while they wait.
"""


class Crowd:
    """Looks once, a while after the start-up, at how often the threads of a run on a CPU lost their cores."""

    def __init__(self, execution: Execution) -> None:
        self.threads = execution.threads if execution.device.type == "cpu" else 1
        self.began = time.monotonic()
        self.before = losses()
        self.looked = self.threads == 1

    def noticed(self) -> bool:
        """Whether other work uses the same cores; True once at most."""
        seconds = time.monotonic() - self.began
        if self.looked or seconds < AFTER:
            return False
        self.looked = True
        return losses() - self.before > CROWDED * self.threads * seconds


def losses() -> int:
    """How often a thread of this process lost its core to other work."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw

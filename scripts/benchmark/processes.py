"""Measuring one group: the processes whose loops train in turn, or at once."""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

LOOPS = Path(__file__).with_name("loops.py")
CORES = Path("/proc/stat")
SETTLING, KEPT = 1, 3
"""Windows of a turn that are left out, until caches and queues are what they were, and those that are taken."""
TOGETHER = 20
"""Windows that several processes train at once."""

Spec = dict[str, Any]
Result = dict[str, Any]
Group = list[Spec]
"""What is measured in turn, to be compared."""


def measure(group: Group, turns: int) -> list[Result]:
    """A result for each spec of a group; its `speeds` are in images per second, one of each turn.

    `stolen` is the part of the cores' time that a hypervisor meanwhile gave to others.
    """
    before = core_time()
    alone = group[0]["measure"] == "together"
    results = [together(group[0])] if alone else in_turn(group, turns)
    stolen, total = (after - earlier for after, earlier in zip(core_time(), before, strict=True))
    return [result | {"stolen": stolen / total if total else 0.0} for result in results]


def core_time() -> tuple[float, float]:
    """Time that this machine's cores wanted and others had, and all their time, in ticks; known on Linux only."""
    if not CORES.exists():
        return 0.0, 0.0
    first = CORES.read_text().splitlines()[0]
    *spent, stolen = map(float, first.split()[1:9])  # user, nice, system, idle, iowait, irq, softirq, steal
    return stolen, sum(spent) + stolen


class Loop:
    """A loop in a process of its own, which trains in its turns and is stopped in between."""

    def __init__(self, spec: Spec, scratch: str) -> None:
        environment = {**os.environ, "TMPDIR": scratch, "TQDM_DISABLE": "1"}
        command = [sys.executable, str(LOOPS), json.dumps(spec)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def window(self) -> Result:
        """The next window, when it has ended. Raises CalledProcessError if the process does."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise subprocess.CalledProcessError(self.process.wait(), self.process.args)

    def turn(self) -> list[Result]:
        """Let it train; what it trained while it was let, without the window that was cut by the pause before."""
        began = time.monotonic()
        self.send(signal.SIGCONT)
        found: list[Result] = []
        while len(found) < SETTLING + KEPT:
            window = self.window()
            found += [window] if window["began"] >= began else []
        self.send(signal.SIGSTOP)
        return found[SETTLING:]

    def send(self, number: int) -> None:
        """Send a signal to the process and its workers."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self) -> None:
        """Leave nothing behind."""
        self.send(signal.SIGKILL)
        self.process.kill()  # one that has no workers yet
        self.process.communicate()


def in_turn(group: Group, turns: int) -> list[Result]:
    """One process for each spec, started one after another; then turn by turn.

    Noise that lasts longer than a turn so cancels in a ratio of two speeds of one turn.
    """
    loops: list[Loop] = []
    windows: list[list[Result]] = [[] for _ in group]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        try:
            for spec in group:
                loops.append(Loop(spec, scratch))
                loops[-1].window()
                loops[-1].send(signal.SIGSTOP)
            pairs = list(zip(loops, windows, strict=True))
            for turn in range(turns):
                for loop, found in pairs if turn % 2 == 0 else reversed(pairs):
                    found.append(summed_up(loop.turn()))
        finally:
            for loop in loops:
                loop.end()
    return [found[-1] | {"speeds": [turn["speed"] for turn in found]} for found in windows]


def summed_up(windows: list[Result]) -> Result:
    """Several windows of one process as one."""
    return windows[-1] | {"speed": statistics.median(window["speed"] for window in windows)}


def together(spec: Spec) -> Result:
    """Several processes that train at once."""
    spec = spec | {"iterations": TOGETHER * spec["window"]}
    command = [sys.executable, str(LOOPS), json.dumps(spec)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(spec["processes"])]
    try:
        for process in processes:
            process.stdout.readline()
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        results = [json.loads(last_line(process)) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return merged(results, spec)


def last_line(process: "subprocess.Popen[str]") -> str:
    """What a process ends with. Raises CalledProcessError if it failed."""
    out, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return out.splitlines()[-1]


def merged(results: list[Result], spec: Spec) -> Result:
    """Several processes as one: all images over the time from the first start to the last end."""
    seconds = max(result["ended"] for result in results) - min(result["began"] for result in results)
    return {
        **results[0],
        "speeds": [len(results) * spec["iterations"] * spec["batch_size"] / seconds],
        "seconds_startup": max(result["seconds_startup"] for result in results),
        "peak_memory_mb": sum(result["peak_memory_mb"] for result in results),
        "digests": sorted({result["digest"] for result in results}),
    }

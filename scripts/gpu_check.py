"""Make the most of a few minutes on a GPU, in this order; called again, it goes on.

tests    those that need CUDA, each engine in a process of its own: a failed capture spoils a process
choice   how fast each engine trains, alone and several networks at once (scripts/sharing.py)
study    the runs, longest first, with what was fastest; stopped in time, they save and can go on
bench    the loop as people write it, and the bare step (scripts/bench), in what is left
pack     OUT/pack: small.tar.gz.* (curves, records, logs) and kept.tar.* (checkpoints), in pieces of 15 MB:
         cat OUT/pack/kept.tar.* | tar -x
         also every minute of the study, so that a machine that is taken away costs a minute of work

No step stops the next one. What a step printed lies in OUT/STEP*.txt.
"""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from argparse import ArgumentParser, Namespace, RawTextHelpFormatter
from contextlib import suppress
from pathlib import Path
from typing import Any

from resexp.system.files import TEMPORARY

ROOT = Path(__file__).resolve().parents[1]
PIECE = 15_000_000
"""Bytes."""
ENGINES = ("eager", "graph", "compile", "compile+graph")
STEPS = ("tests", "choice", "study", "bench")
LIMITS = {"tests": 120, "choice": 150, "bench": 150}
"""Seconds that a step may take at most; the study has the rest of the time."""
SAVING = 40
"""Seconds left for runs to save, and for packing."""

Process = subprocess.Popen[bytes]


def say(*words: object) -> None:
    """A line of the summary."""
    print(f"{time.strftime('%H:%M:%S')}", *words, flush=True)


def place(path: str | Path) -> Path:
    """A path from where the script was called."""
    return Path(path).expanduser().resolve()


class Steps:
    """What the steps share: options, time, and the processes that a signal ends."""

    def __init__(self, args: Namespace) -> None:
        self.args, self.out, self.began = args, place(args.out), time.monotonic()
        self.runs = place(args.runs or self.out / "runs")
        self.where = [f"--device={args.device}", f"--precisions={args.precision}"]
        self.processes: list[Process] = []
        self.stopped = False
        self.out.mkdir(parents=True, exist_ok=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.stop)

    def stop(self, *_: object) -> None:
        """End what runs, which saves itself; then only packing is left."""
        self.stopped = True
        self.end(signal.SIGTERM)

    def end(self, number: int) -> None:
        """Send a signal to all processes that run."""
        for process in self.processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)

    def left(self) -> float:
        """Seconds until only packing is left to do."""
        return self.args.seconds - SAVING - (time.monotonic() - self.began)

    def start(self, name: str, *command: str) -> Process:
        """Start a command; its output is appended to OUT/NAME.txt."""
        environment = {"TORCHINDUCTOR_COMPILE_THREADS": "2", "CUDA_DEVICE_MAX_CONNECTIONS": "32", **os.environ}
        environment |= {"TQDM_DISABLE": "1"}
        with (self.out / f"{name}.txt").open("ab") as log:
            whole = [sys.executable, *command]
            process = subprocess.Popen(whole, stdout=log, stderr=log, env=environment, start_new_session=True)
        self.processes.append(process)
        return process

    def wait(self, processes: list[Process], seconds: float, packing: bool = False) -> list[int]:
        """Wait for processes, packing now and then if asked to, and stop those that take longer; exit statuses."""
        until = time.monotonic() + seconds
        due = time.monotonic() + self.args.pack_every
        while any(process.poll() is None for process in processes) and time.monotonic() < until and not self.stopped:
            time.sleep(0.2)
            if packing and time.monotonic() > due:
                try:
                    self.pack()
                except OSError as error:  # the study goes on
                    say(f"pack: {error}")
                due = time.monotonic() + self.args.pack_every
        if not self.stopped:  # a second signal would not let them save
            self.end(signal.SIGTERM)
        for _ in range(10 * SAVING):
            if all(process.poll() is not None for process in processes):
                break
            time.sleep(0.1)
        self.end(signal.SIGKILL)
        return [process.wait() for process in processes]

    def tests(self) -> None:
        """The tests that need CUDA, all engines at the same time."""
        where = [str(ROOT / path) for path in ("tests/training", "tests/sweep/test_streams.py")]
        where += ["-m", "cuda", "-rfE", "-q", "-W", "default"]
        which = {
            name: " and ".join(f"{'' if part in name else 'not '}{part}" for part in ("graph", "compile"))
            for name in ENGINES
        }
        due = {name: filter for name, filter in which.items() if not (self.out / f"passed-{name}").exists()}
        started = [
            self.start(f"tests-{name}", "-m", "pytest", *where, "-p", "no:cacheprovider", "-k", filter)
            for name, filter in due.items()
        ]
        for name, status in zip(due, self.wait(started, min(LIMITS["tests"], self.left())), strict=True):
            lines = (self.out / f"tests-{name}.txt").read_text(errors="replace").strip().splitlines()
            last = lines[-1] if lines else "no output"
            if status == 0 and " passed" in last:  # not where all were skipped
                (self.out / f"passed-{name}").touch()
            say(f"tests of engine {name}: status {status},", last)

    def choice(self) -> None:
        """How fast each engine is, alone and shared."""
        file = self.out / "choice.csv"
        if not file.exists():
            options = [*self.where, f"--several={self.args.several}"]
            process = self.start("choice", str(ROOT / "scripts/sharing.py"), str(file), *options)
            self.wait([process], min(LIMITS["choice"], self.left()))
        for row in self.measured():
            say("  ", ", ".join(f"{name} {value}" for name, value in row.items()))

    def measured(self) -> list[dict[str, str]]:
        """What the choice is made from."""
        file = self.out / "choice.csv"
        return list(csv.DictReader(file.read_text().splitlines())) if file.exists() else []

    def fastest(self) -> tuple[str, int]:
        """Engine and number of networks at once that do most work in a second; unmeasured, engine=auto and 0."""
        mine = [row for row in self.measured() if row["precision"] == self.args.precision]
        best = max(mine, key=lambda row: float(row["images_per_second"]), default=None)
        return (best["engine"], int(best["at_once"])) if best else ("auto", 0)

    def study(self) -> None:
        """The runs of the study, until they are done or the time is up."""
        engine, at_once = self.fastest()
        engine, at_once = self.args.engine or engine, self.args.at_once or at_once
        sweep = [f"model={self.args.models}", f"seed={self.args.seeds}", f"engine={engine}", f"runs={self.runs}"]
        sweep += [f"precision={self.args.precision}", f"device={self.args.device}", "threads=1", *self.args.settings]
        sweep += ["hydra/launcher=streams", *[f"hydra.launcher.at_once={at_once}"] * bool(at_once)]
        sweep += [f"data.dir={place(self.args.data)}"] * bool(self.args.data)
        say("study:", *sweep)
        (status,) = self.wait([self.start("study", "-m", "resexp", "train", "-m", *sweep)], self.left(), packing=True)
        say(f"study: status {status}")
        for path in sorted(self.runs.rglob("run.json")):
            record: dict[str, Any] = json.loads(path.read_text())
            say("  ", path.parent.relative_to(self.runs), record["state"], record["iteration"], record["error"] or "")

    def bench(self) -> None:
        """What is left of the time goes into comparisons."""
        engine = self.args.engine or self.fastest()[0]
        options = [f"--out={self.out / 'bench'}", "--resume", *self.where, "--networks=resnet20", f"--engines={engine}"]
        options += ["--repeats=1", "--turns=3", f"--window={self.args.window}"]
        if self.left() > SAVING:
            process = self.start("bench", str(ROOT / "scripts/benchmark.py"), *options)
            say("bench: status", *self.wait([process], min(LIMITS["bench"], self.left())))

    def pack(self) -> None:
        """Small files of all runs, then as many checkpoints as fit, those of unfinished runs first.

        Runs may go on meanwhile: each file is read at once. The pieces of before stay until the new ones are there.
        """
        small, kept = io.BytesIO(), io.BytesIO()
        with tarfile.open(fileobj=small, mode="w:gz") as archive:
            printed = [*self.out.glob("*.txt"), *self.out.glob("*.csv"), *(self.out / "bench").glob("*")]
            for path in sorted([*self.runs.rglob("*"), *printed]):
                if path.is_file() and path.suffix != ".pt" and path.name != ".lock" and TEMPORARY not in path.name:
                    base = self.runs.parent if path.is_relative_to(self.runs) else self.out
                    add(archive, path, base)
        left = self.args.megabytes * 1_000_000 - small.tell()
        records = self.runs.rglob("run.json")
        states = {path.parent: json.loads(path.read_text())["state"] for path in records}
        with tarfile.open(fileobj=kept, mode="w") as archive:
            for run in sorted(states, key=lambda run: (states[run] == "finished", str(run))):
                path = run / "checkpoint.pt"
                if not path.exists():
                    continue
                if kept.tell() + path.stat().st_size + 2 * tarfile.RECORDSIZE < left:
                    add(archive, path, self.runs.parent)
                else:
                    say("   not packed, too large together:", path)
        folder, new, old = (self.out / name for name in ("pack", "packing", "packed"))
        for unfinished in (new, old):
            shutil.rmtree(unfinished, ignore_errors=True)
        new.mkdir()
        for name, content in (("small.tar.gz", small.getvalue()), ("kept.tar", kept.getvalue())):
            for number, at in enumerate(range(0, len(content), PIECE)):
                (new / f"{name}.{number:03}").write_bytes(content[at : at + PIECE])
            say(f"pack: {name}, {len(content):,} bytes")
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def add(archive: tarfile.TarFile, path: Path, base: Path) -> None:
    """Put a file into an archive as it is now; one that has gone meanwhile is left out."""
    with suppress(FileNotFoundError):
        content = path.read_bytes()
        entry = archive.gettarinfo(path, str(path.relative_to(base)))
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


def main() -> None:
    """Do the steps that are asked for."""
    parser = ArgumentParser("scripts/gpu_check", description=__doc__, formatter_class=RawTextHelpFormatter)
    option = parser.add_argument
    option("out", help="folder for everything")
    option("--steps", default=",".join(STEPS), help="which of them; packing always ends them")
    option("--seconds", type=float, default=500, help="until everything is packed; less than the machine is yours")
    option("--models", default="plain56,resnet56,plain20,resnet20", help="longest first")
    option("--seeds", default="0,1,2")
    option("--precision", default="bf16")
    option("--engine", default="", help="instead of the fastest")
    option("--at-once", type=int, default=0, help="instead of what was fastest")
    option("--several", type=int, default=8, help="networks at once that the choice tries")
    option("--window", type=int, default=100, help="iterations that a turn of bench times")
    option("--device", default="cuda")
    option("--data", default="", help="folder that holds cifar-10-batches-py")
    option("--runs", default="", help="folder of the runs (OUT/runs)")
    option("--megabytes", type=int, default=60, help="at most, of all packed pieces")
    option("--pack-every", type=float, default=60, help="seconds of the study")
    option("settings", nargs="*", help="more settings of resexp train")
    args = parser.parse_intermixed_args()
    if wrong := {*args.steps.split(",")} - {*STEPS}:
        parser.error(f"--steps={','.join(sorted(wrong))}: choose from {', '.join(STEPS)}")
    steps = Steps(args)
    for name in args.steps.split(","):
        if steps.stopped or steps.left() <= 0:
            say(f"{name}: no time left")
            continue
        try:
            getattr(steps, name)()
        except Exception as error:  # it is noted, and the next step goes on
            say(f"{name}: {type(error).__name__}: {error}")
    steps.pack()


if __name__ == "__main__":
    main()

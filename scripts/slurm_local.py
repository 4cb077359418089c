"""A sweep of four short runs as Slurm jobs on this machine, three of them disturbed, against a local sweep.

One job is requeued in mid-run, one is told that its time is nearly up, one is cancelled; a second sweep goes on with
that one. Everything lies in a temporary folder, and what was started is stopped, whatever happens.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
RUNS = [(model, seed) for model in ("plain20", "resnet20") for seed in (0, 1)]
"""In the order of the sweep, which is that of the jobs."""
REQUEUED, TIMED_OUT, CANCELLED = 0, 1, 2
SWEEP = (
    *("train", "-m", "model=plain20,resnet20", "seed=0,1", "model.depth=8", "data=shapes", "data.image_size=8"),
    *("data.train_images=96", "data.test_images=40", "recipe=quick", "recipe.iterations=400", "recipe.batch_size=20"),
    *("recipe.drops=[200]", "recipe.row_every=10", "recipe.evaluate_every=100", "device=cpu", "precision=fp32"),
)
SLURM = ("hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1")
CONFIGURATION = """\
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=100000
PartitionName=main Nodes={host} Default=YES State=UP
"""


def cannot_run() -> str | None:
    """Why there can be no Slurm here."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not found: install slurmctld slurmd slurm-client munge"
    return None if os.geteuid() == 0 else "only root can start Slurm's daemons"


def wait_for(what: str, holds: Callable[[], bool], seconds: float = 120) -> None:
    """Return when it holds. Raises SystemExit if it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise SystemExit(f"slurm_local: waited {seconds:g} s for this: {what}")
        time.sleep(0.05)


def output(*command: str) -> str:
    """What a command prints; nothing if it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@contextmanager
def cluster(folder: Path) -> Generator[None, None, None]:
    """A Slurm of one node, for as long as the block lasts."""
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        ports = {"controller_port": one.getsockname()[1], "node_port": other.getsockname()[1]}
    host = socket.gethostname().partition(".")[0]
    (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, folder=folder, **ports))
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
    files |= {"log-file": "munged.own.log", "seed-file": "munge.seed"}
    munged = ["munged", "--foreground", "--force", *(f"--{key}={folder / name}" for key, name in files.items())]
    with ExitStack() as daemons:
        daemons.enter_context(daemon(munged, folder))
        wait_for("munged's socket", (folder / "munge.socket").exists, 10)
        daemons.enter_context(daemon(["slurmctld", "-D"], folder))
        daemons.enter_context(daemon(["slurmd", "-D"], folder))
        wait_for("an idle node", lambda: "idle" in output("sinfo", "--noheader", "--format=%t"), 30)
        try:
            yield
        finally:
            output("scancel", "--user=root")
            wait_for("an empty queue", lambda: not output("squeue", "--noheader"), 60)


@contextmanager
def daemon(command: list[str], folder: Path) -> Generator[None, None, None]:
    """A process for as long as the block lasts, with a log of its own."""
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    except BaseException:
        print(
            f"{log.name}:", *Path(log.name).read_text(errors="replace").splitlines()[-10:], sep="\n  ", file=sys.stderr
        )
        raise
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def sweep(folder: Path, name: str, *more: str) -> "subprocess.Popen[str]":
    """Start the sweep, with runs in a folder of this name."""
    command = [sys.executable, "-m", "resexp", *SWEEP, f"runs={folder / name}", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder)


def directory(runs: Path, number: int) -> Path:
    """Where a run lies."""
    model, seed = RUNS[number]
    found = list(runs.glob(f"shapes/*/{model}*/seed{seed}"))
    return found[0] if found else runs / "not there yet"


def in_mid_run(run: Path) -> bool:
    """Whether rows have been measured."""
    history = run / "history.csv"
    return history.exists() and history.read_text().count("\n") > 2


def disturb(first: "subprocess.Popen[str]", runs: Path) -> None:
    """Requeue one job in mid-run, tell another that its time is nearly up, cancel a third."""
    wait_for("a job", lambda: bool(output("squeue", "--noheader")) or first.poll() is not None)
    if first.poll() is not None:
        raise SystemExit(f"slurm_local: the sweep ended before it had a job: {first.communicate()[1]}")
    array = output("squeue", "--noheader", "--format=%F").split()[0]
    acts = {
        REQUEUED: ["scontrol", "requeue", f"{array}_{REQUEUED}"],
        TIMED_OUT: ["scancel", "--signal=USR2", f"{array}_{TIMED_OUT}"],
        CANCELLED: ["scancel", f"{array}_{CANCELLED}"],
    }

    def act() -> bool:
        for number in [number for number in acts if in_mid_run(directory(runs, number))]:
            subprocess.run(acts.pop(number), check=True)
        return not acts

    wait_for("three jobs in mid-run", act)
    for number in (REQUEUED, TIMED_OUT):  # Slurm lets them wait two minutes; here not
        job = f"{array}_{number}"
        state = ("squeue", "--noheader", f"--jobs={job}", "--format=%T")
        wait_for(f"job {job} to be requeued", lambda state=state: "PENDING" in output(*state))
        subprocess.run(["scontrol", "update", f"jobid={job}", "starttime=now"], check=True)


def check(holds: bool, what: str) -> None:
    """Say what was found. Raises SystemExit if it is not so."""
    print(("" if holds else "NOT SO: ") + what, flush=True)
    if not holds:
        raise SystemExit(1)


def check_first(runs: Path, status: int, said: str) -> None:
    """What the disturbed sweep must have done."""
    records = [json.loads((directory(runs, number) / "run.json").read_text()) for number in range(4)]
    ends = [[(one["from"], one["to"]) for one in record["sessions"]] for record in records]
    check(status == 1, "the first sweep ends with status 1")
    check(said.count("  finished, training error") == 3, "it reports 3 of 4 runs as finished")
    check(said.count("was cancelled or killed") == 1, "it reports 1 of 4 runs as cancelled")
    for number, word in ((REQUEUED, "requeued"), (TIMED_OUT, "whose time was up")):
        two = ends[number]
        check(len(two) == 2 and 0 < two[0][1] == two[1][0], f"the job {word} went on from iteration {two[0][1]}")
    left = records[CANCELLED]
    check(left["state"] == "interrupted", f"the cancelled run was saved at iteration {left['iteration']}")
    threads = {session["threads"] for record in records for session in record["sessions"]}
    check(threads == {1}, "every run had the threads of its job: 1")


def check_equal(one: Path, other: Path) -> None:
    """Curves byte for byte, and all that the checkpoints hold bit for bit."""
    import torch

    def tensors(value: Any) -> list[torch.Tensor]:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list | tuple):
            return [tensor for item in value for tensor in tensors(item)]
        return [value] if isinstance(value, torch.Tensor) else []

    curves = weights = same = 0
    for number in range(4):
        a, b = directory(one, number), directory(other, number)
        curves += (a / "history.csv").read_bytes() == (b / "history.csv").read_bytes()
        states = [tensors(torch.load(run / "checkpoint.pt", weights_only=True)) for run in (a, b)]
        weights += len(states[0])
        same += sum(torch.equal(x, y) for x, y in zip(*states, strict=True))
    check(curves == 4, f"{curves} of 4 history.csv are equal to those of the local sweep, byte for byte")
    check(same == weights > 0, f"{same} of {weights} tensors in the checkpoints are equal, bit for bit")


def main() -> None:
    """Start, disturb, repeat, compare."""
    began = time.monotonic()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if reason := cannot_run():
        raise SystemExit(f"slurm_local: {reason}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="resexp-slurm-") as name, ExitStack() as stack:
        folder = Path(name)
        local = stack.enter_context(sweep(folder, "local"))
        stack.callback(local.terminate)
        stack.enter_context(cluster(folder))
        # fresh=true: a job that comes back must not start over
        first = stack.enter_context(sweep(folder, "runs", *SLURM, "fresh=true"))
        stack.callback(first.terminate)
        disturb(first, folder / "runs")
        said = first.communicate()[1]
        print(said)
        check_first(folder / "runs", first.returncode, said)
        second = stack.enter_context(sweep(folder, "runs", *SLURM))
        stack.callback(second.terminate)
        said = second.communicate()[1]
        check(second.returncode == 0, "the second sweep ends with status 0")
        check(said.count("finished before") == 3, "it finds 3 of 4 runs finished, and goes on with 1")
        local.communicate()
        check(local.returncode == 0, "the local sweep ends with status 0")
        check_equal(folder / "runs", folder / "local")
        check((folder / "runs-slurm").exists(), "what submitit writes lies in runs-slurm/, beside runs/")
    print(f"done in {time.monotonic() - began:.0f} s, all that was started is stopped")


if __name__ == "__main__":
    main()

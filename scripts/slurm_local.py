"""A sweep of four short runs as Slurm jobs on this machine, three of them disturbed, against a local sweep.

One job is requeued in mid-run, one learns that its time is nearly up, one is cancelled; a second sweep resumes that
one. Everything lies in a temporary folder, and what was started is stopped, whatever happens.
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

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
RUNS = [f"{model}*/seed{seed}" for model in ("plain20", "resnet20") for seed in (0, 1)]
"""Where they lie, in the order of the sweep, which is that of the jobs."""
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


def wait_for(what: str, holds: Callable[[], object], seconds: float = 120) -> None:
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
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
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
    """A process for as long as the block lasts, with a log of its own, whose end is shown if the block fails."""
    path = folder / f"{command[0]}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    except BaseException:
        print(f"{path}:", *path.read_text(errors="replace").splitlines()[-10:], sep="\n  ", file=sys.stderr)
        raise
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def sweep(folder: Path, runs: str, *more: str) -> Generator["subprocess.Popen[str]", None, None]:
    """The sweep, with runs in a folder of this name; ended, if it has not come to an end, with the block."""
    command = [sys.executable, "-m", "resexp", *SWEEP, f"runs={folder / runs}", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder) as process:
        try:
            yield process
        finally:
            process.terminate()


def directory(runs: Path, number: int) -> Path:
    """Where a run lies."""
    return next(runs.glob(f"shapes/*/{RUNS[number]}"), runs / "not there yet")


def disturb(first: "subprocess.Popen[str]", runs: Path) -> None:
    """Requeue one job in mid-run, tell another that its time is nearly up, cancel a third."""
    wait_for("a job", lambda: output("squeue", "--noheader") or first.poll() is not None)
    if first.poll() is not None:
        raise SystemExit(f"slurm_local: the sweep ended before it had a job: {first.communicate()[1]}")
    array = output("squeue", "--noheader", "--format=%F").split()[0]
    acts = {
        REQUEUED: ["scontrol", "requeue", f"{array}_{REQUEUED}"],
        TIMED_OUT: ["scancel", "--signal=USR2", f"{array}_{TIMED_OUT}"],
        CANCELLED: ["scancel", f"{array}_{CANCELLED}"],
    }

    def act() -> bool:
        for number in list(acts):
            history = directory(runs, number) / "history.csv"
            if history.exists() and history.read_text().count("\n") > 2:
                subprocess.run(acts.pop(number), check=True)
        return not acts

    wait_for("three jobs in mid-run", act)
    # Slurm lets them wait two minutes, here two seconds: started in the second in which it was stopped, a job is taken
    # for the stopped one and killed.
    for job in (f"{array}_{REQUEUED}", f"{array}_{TIMED_OUT}"):
        state = ("squeue", "--noheader", f"--jobs={job}", "--format=%T")
        wait_for(f"job {job} to be requeued", lambda state=state: "PENDING" in output(*state))
        subprocess.run(["scontrol", "update", f"jobid={job}", "starttime=now+2"], check=True)


def check(holds: bool, what: str) -> None:
    """Print what was found. Raises SystemExit if it is not so."""
    print(("" if holds else "NOT SO: ") + what, flush=True)
    if not holds:
        raise SystemExit(1)


def check_first(runs: Path, status: int | None, messages: str) -> None:
    """What the disturbed sweep must have done."""
    records = [json.loads((directory(runs, number) / "run.json").read_text()) for number in range(4)]
    check(status == 1, "the first sweep ends with status 1")
    check(messages.count("  finished, training error") == 3, "it reports 3 of 4 runs as finished")
    check(messages.count("was cancelled or killed") == 1, "it reports 1 of 4 runs as cancelled")
    for number, word in ((REQUEUED, "requeued"), (TIMED_OUT, "whose time was up")):
        first, *later = records[number]["sessions"]
        resumed = len(later) == 1 and 0 < first["to"] == later[0]["from"]
        check(resumed, f"the job {word} was resumed at iteration {first['to']}")
    left = records[CANCELLED]
    check(left["state"] == "interrupted", f"the cancelled run was saved at iteration {left['iteration']}")
    threads = {session["threads"] for record in records for session in record["sessions"]}
    check(threads == {1}, "every run had the threads of its job: 1")


def check_equal(one: Path, other: Path) -> None:
    """Curves byte for byte, and the network and momentum in the checkpoints bit for bit."""
    import torch

    curves = tensors = same = 0
    for number in range(4):
        runs = directory(one, number), directory(other, number)
        curves += len({(run / "history.csv").read_bytes() for run in runs}) == 1
        states = [torch.load(run / "checkpoint.pt", weights_only=True) for run in runs]
        a, b = ([*state["network"].values(), *state["momentum"]] for state in states)
        tensors += len(a)
        same += sum(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    check(curves == 4, f"{curves} of 4 history.csv are equal to those of the local sweep, byte for byte")
    check(same == tensors > 0, f"{same} of {tensors} tensors in the checkpoints are equal, bit for bit")


def stop(*_: object) -> None:
    """End as `kill` would, but stop first what was started."""
    sys.exit(143)


def main() -> None:
    """Start, disturb, repeat, compare."""
    began = time.monotonic()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if reason := cannot_run():
        raise SystemExit(f"slurm_local: {reason}")
    signal.signal(signal.SIGTERM, stop)
    with tempfile.TemporaryDirectory(prefix="resexp-slurm-") as name:
        folder = Path(name)
        with sweep(folder, "local") as local, cluster(folder):
            with sweep(folder, "runs", *SLURM, "fresh=true") as first:  # a job that comes back must not start over
                disturb(first, folder / "runs")
                messages = first.communicate()[1]
            print(messages)
            check_first(folder / "runs", first.returncode, messages)
            with sweep(folder, "runs", *SLURM) as second:
                messages = second.communicate()[1]
            check(second.returncode == 0, "the second sweep ends with status 0")
            check(messages.count("finished before") == 3, "it finds 3 of 4 runs finished, and resumes 1")
            local.communicate()
            check(local.returncode == 0, "the local sweep ends with status 0")
        check_equal(folder / "runs", folder / "local")
        check((folder / "runs-slurm").exists(), "what submitit writes lies in runs-slurm/, beside runs/")
    print(f"done in {time.monotonic() - began:.0f} s, all that was started is stopped")


if __name__ == "__main__":
    main()

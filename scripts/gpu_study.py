"""Train the study on a GPU that is lent for minutes: longest first, several at once, stopped in time, packed to be carried.

    python scripts/gpu_study.py OUT --seconds 500 --data DIR --share streams --engine graph --precision tf32

Runs that are not finished when the time is up save themselves; the same command goes on with them. OUT then holds
small.tar.gz.* (curves, records, logs) and kept.tar.* (checkpoints), in pieces of 15 MiB: cat OUT/kept.tar.* | tar -x
"""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from argparse import ArgumentParser
from pathlib import Path

PIECE = 15 << 20


def pack(runs: Path, out: Path, most: int) -> None:
    """Small files of all runs, then checkpoints, unfinished runs' first, as many as fit into `most` bytes."""
    out.mkdir(parents=True, exist_ok=True)
    small = io.BytesIO()
    with tarfile.open(fileobj=small, mode="w:gz") as archive:
        for path in sorted(runs.rglob("*")):
            if path.is_file() and path.suffix != ".pt" and ".lock" not in path.name:
                archive.add(path, path.relative_to(runs.parent))
    left = most - len(small.getvalue())
    kept = io.BytesIO()
    states = {path.parent: json.loads(path.read_text())["state"] for path in runs.rglob("run.json")}
    order = sorted(states, key=lambda folder: (states[folder] == "finished", "seed0" not in str(folder), str(folder)))
    with tarfile.open(fileobj=kept, mode="w") as archive:
        for folder in order:
            path = folder / "checkpoint.pt"
            if path.exists() and path.stat().st_size + len(kept.getvalue()) + 20480 < left:
                archive.add(path, path.relative_to(runs.parent))
            else:
                print(f"left out: {path}", flush=True)
    for name, buffer in (("small.tar.gz", small), ("kept.tar", kept)):
        content = buffer.getvalue()
        for number, at in enumerate(range(0, len(content), PIECE)):
            (out / f"{name}.{number}").write_bytes(content[at : at + PIECE])
        print(f"{name}: {len(content):,} bytes", flush=True)


def main() -> None:
    """Train until the time is up, then pack."""
    parser = ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("/tmp/study"))
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument("--data", default="")
    parser.add_argument("--share", choices=["streams", "processes"], default="streams")
    parser.add_argument("--at-once", type=int, default=12)
    parser.add_argument("--engine", default="graph")
    parser.add_argument("--precision", default="tf32")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", default="plain56,resnet56,plain20,resnet20", help="longest first")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--more", default="")
    parser.add_argument("--bytes", type=int, default=60 << 20)
    args = parser.parse_args()
    began = time.monotonic()
    common = [f"engine={args.engine}", f"precision={args.precision}", "threads=1", f"runs={args.runs}"]
    common += [f"device={args.device}", *([f"data.dir={args.data}"] if args.data else []), *args.more.split()]
    args.runs.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "TQDM_DISABLE": "1", "TORCHINDUCTOR_COMPILE_THREADS": "2"}
    sweep = ["-m", f"seed={args.seeds}", f"model={args.models}"]
    if args.share == "streams":
        sweep += ["hydra/launcher=streams", f"hydra.launcher.at_once={args.at_once}"]
        waiting, places = [sweep], 1
    else:
        waiting = [[f"seed={seed}", f"model={m}"] for seed in args.seeds.split(",") for m in args.models.split(",")]
        places = args.at_once
    processes: list[subprocess.Popen[bytes]] = []
    with (args.runs / "log.txt").open("a") as log:
        while time.monotonic() - began < args.seconds:
            running = [process for process in processes if process.poll() is None]
            while waiting and len(running) < places:
                command = [sys.executable, "-m", "resexp", "train", *waiting.pop(0), *common]
                running.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
                processes.append(running[-1])
            if not running:
                break
            time.sleep(1)
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
    print(
        f"{time.monotonic() - began:.0f} s; exit statuses {[process.returncode for process in processes]}", flush=True
    )
    for path in sorted(args.runs.rglob("run.json")):
        record = json.loads(path.read_text())
        speed = (path.parent / "timing.csv").read_text().splitlines()[-1]
        final = {name: round(value, 4) for name, value in record.get("final", {}).items() if "error" in name}
        print(
            path.parent.parent.name,
            path.parent.name,
            record["state"],
            record["iteration"],
            speed,
            final,
            record["error"] or "",
        )
    print("".join((args.runs / "log.txt").read_text().splitlines(True)[-4:]))
    pack(args.runs, args.out, args.bytes)


if __name__ == "__main__":
    main()

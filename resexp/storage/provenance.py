"""Who computes, with which source, and when: what run.json records of each session, and how it is shown."""

import os
import socket
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from resexp.formatting import plural


def source_version() -> dict[str, Any]:
    """Commit and whether the tree has changes, where the package runs from a git checkout."""
    folder = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, check=True, timeout=20)
        return done.stdout.decode(errors="replace").strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return {"commit": git("rev-parse", "HEAD"), "dirty": git("status", "--porcelain", "--", str(folder)) != ""}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def this_process() -> dict[str, Any]:
    """Host and pid of this process."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def utc_now() -> str:
    """The time, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def hardware(session: dict[str, Any]) -> str:
    """NVIDIA H200, bf16, eager; of a CPU also its threads."""
    parts = [session.get("device_name") or session.get("device")]
    if session.get("device") == "cpu" and session.get("threads"):
        parts += [session.get("cpu_model"), plural(session["threads"], "thread")]
    parts += [session.get("precision"), session.get("engine"), "deterministic" if session.get("deterministic") else ""]
    return ", ".join(str(part) for part in parts if part)


def versions(session: dict[str, Any]) -> str:
    """resexp 0.1.0, Python 3.11.7, torch 2.15.0, CUDA 13.0."""
    named = {"resexp": "resexp", "Python": "python", "torch": "torch", "CUDA": "cuda", "cuDNN": "cudnn"}
    return ", ".join(f"{name} {session[key]}" for name, key in named.items() if session.get(key))


def commit(session: dict[str, Any]) -> str:
    """0123456789 with changes."""
    return str(session.get("commit") or "unknown")[:10] + " with changes" * bool(session.get("dirty"))

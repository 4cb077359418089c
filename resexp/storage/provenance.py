"""Who computes, with which source, and when: what run.json records of each stretch of work, and how it reads."""

import os
import socket
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from resexp.formatting import plural


def source_version() -> dict[str, Any]:
    """Commit and whether the tree was changed, where the package runs from a git checkout."""
    folder = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

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


def hardware(stretch: dict[str, Any]) -> str:
    """NVIDIA H200, bf16, eager; of a CPU also its threads."""
    on_cpu = stretch.get("device") == "cpu" and stretch.get("threads")
    found = [
        stretch.get("device_name") or stretch.get("device"),
        plural(stretch["threads"], "thread") if on_cpu else None,
        stretch.get("precision"),
        stretch.get("engine"),
        "deterministic" if stretch.get("deterministic") else None,
    ]
    return ", ".join(str(one) for one in found if one)


def versions(stretch: dict[str, Any]) -> str:
    """resexp 0.1.0, Python 3.11.7, torch 2.15.0, CUDA 13.0."""
    named = {"resexp": "resexp", "Python": "python", "torch": "torch", "CUDA": "cuda", "cuDNN": "cudnn"}
    return ", ".join(f"{name} {stretch[key]}" for name, key in named.items() if stretch.get(key))


def commit(stretch: dict[str, Any]) -> str:
    """0123456789, and whether the tree held changes."""
    known = str(stretch.get("commit") or "unknown")[:10]
    return known + (" with changes" if stretch.get("dirty") else "")

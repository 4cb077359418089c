"""Who computes, with which source, and when: what run.json records of each stretch of work."""

import os
import socket
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


def source_version() -> dict[str, Any]:
    """Commit and whether the tree was changed, where the package runs from a git checkout."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return {"commit": git("rev-parse", "HEAD"), "dirty": git("status", "--porcelain", "--", str(folder)) != ""}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def this_process() -> dict[str, Any]:
    """Host and pid of this process."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def utc_now() -> str:
    """The time, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")

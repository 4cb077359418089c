"""A few minutes on a GPU: steps go on after failures and interruptions, and everything is packed."""

import csv
import io
import json
import signal
import subprocess
import sys
import tarfile
import time
from argparse import Namespace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from conftest import TINY

ROOT = Path(__file__).parent.parent
SETTINGS = [setting for setting in TINY if not setting.startswith(("device", "threads"))]


def start(out: Path, *options: str) -> "subprocess.Popen[str]":
    """Start it on the CPU from beside `out`, with small runs of two networks."""
    command = ["bash", str(ROOT / "scripts" / "gpu_check"), out.name, "--device=cpu", "--precision=fp32"]
    command += ["--models=plain20,resnet20", "--seeds=0", *SETTINGS, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=out.parent)


def said_by(out: Path, *options: str) -> str:
    """Let it come to its end; what it prints."""
    with start(out, *options) as process:
        return process.communicate(timeout=300)[0]


def packed(out: Path, name: str) -> dict[str, bytes]:
    """The files of an archive that lies in pieces."""
    pieces = sorted((out / "pack").glob(f"{name}.*"))
    assert pieces
    with tarfile.open(fileobj=io.BytesIO(b"".join(piece.read_bytes() for piece in pieces))) as archive:
        return {member.name: file.read() for member in archive if (file := archive.extractfile(member))}


def test_a_study_that_is_stopped_is_packed_and_goes_on_when_called_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    choice = {"engine": "eager", "precision": "fp32", "at_once": "2", "images_per_second": "9"}
    (out / "choice.csv").write_text(",".join(choice) + "\n" + ",".join(choice.values()) + "\n")
    process = start(out, "--steps=choice,study", "recipe.iterations=400")
    while sum(path.read_text().count("\n") > 2 for path in out.rglob("history.csv")) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 0
    assert said.count(" interrupted ") == 2, said
    small, kept = packed(out, "small.tar.gz"), packed(out, "kept.tar")
    records = [json.loads(small[name]) for name in small if name.endswith("run.json")]
    assert [record["state"] for record in records] == ["interrupted", "interrupted"]
    assert {"study.txt", "choice.csv"} < {*small}
    assert len(kept) == 2
    for name, content in kept.items():
        state = torch.load(io.BytesIO(content), weights_only=True)
        assert state["iteration"] == json.loads(small[name.replace("checkpoint.pt", "run.json")])["iteration"]
    said = said_by(out, "--steps=study", "recipe.iterations=400")
    assert said.count(" finished 400 ") == 2, said
    for content in packed(out, "small.tar.gz"):
        assert not content.endswith(".pt")


def test_what_a_study_has_so_far_is_packed_while_it_goes_on(tmp_path: Path) -> None:
    process = start(tmp_path, "--steps=study", "--engine=eager", "--pack-every=0.5", "recipe.iterations=100000")
    small: dict[str, bytes] = {}
    while not any(name.endswith("run.json") for name in small):
        assert process.poll() is None
        time.sleep(0.1)
        process.send_signal(signal.SIGSTOP)  # nothing changes while it is read
        if (tmp_path / "pack").exists():
            small = packed(tmp_path, "small.tar.gz")
        process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert "study.txt" in small
    assert [json.loads(small[name])["state"] for name in small if name.endswith("run.json")] == ["running"]


def test_pieces_are_small_enough_to_be_sent_and_make_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.setattr(signal, "signal", print)  # handlers of its own would stay
    script = import_module("gpu_check")
    assert script.PIECE <= 15_000_000
    monkeypatch.setattr(script, "PIECE", 1000)
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"state": "finished"}')
    (run / "checkpoint.pt").write_bytes(bytes(range(256)) * 20)
    args = Namespace(out=tmp_path, runs=tmp_path / "runs", device="cpu", precision="fp32", megabytes=1)
    script.Steps(args).pack()
    sizes = [path.stat().st_size for path in (tmp_path / "pack").iterdir()]
    assert max(sizes) == 1000
    assert packed(tmp_path, "kept.tar") == {"runs/a/checkpoint.pt": bytes(range(256)) * 20}


def test_steps_without_time_or_that_fail_are_said_and_packing_is_done(tmp_path: Path) -> None:
    said = said_by(tmp_path, "--steps=study", "recipe.lr=fast")
    assert "study: status 1" in said
    assert "recipe.lr" in (tmp_path / "study.txt").read_text()
    said = said_by(tmp_path, "--steps=study", "--seconds=1")
    assert "study: no time left" in said
    assert "pack: small.tar.gz" in said


def test_a_wrong_step_is_refused_before_the_others_begin(tmp_path: Path) -> None:
    process = start(tmp_path / "out", "--steps=study,stduy")
    process.communicate(timeout=60)
    assert process.returncode == 2
    assert not (tmp_path / "out").exists()


def test_sharing_measures_each_engine_alone_and_shared(tmp_path: Path) -> None:
    options = ["--device=cpu", "--precisions=fp32,bf16", "--several=2", "--seconds=0.1", "--images=64"]
    options += ["--image-size=8", "--batch-size=4"]
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "sharing.py", tmp_path / "choice.csv", *options], check=True, timeout=300
    )
    rows = list(csv.DictReader((tmp_path / "choice.csv").read_text().splitlines()))
    measured = [(row["engine"], row["precision"], row["at_once"]) for row in rows]
    assert measured == [("eager", "fp32", "1"), ("eager", "fp32", "2"), ("eager", "bf16", "1"), ("eager", "bf16", "2")]
    refused = subprocess.run(
        [sys.executable, ROOT / "scripts" / "sharing.py", tmp_path / "no.csv", "--several=33"], capture_output=True
    )
    assert (refused.returncode, b"an even number from 2 to 32" in refused.stderr) == (2, True)
    for row in rows:
        assert float(row["resnet20_ms"]) > 0
        assert float(row["images_per_second"]) > 0

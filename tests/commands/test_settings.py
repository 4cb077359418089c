"""Rules that several verbs share hold for each of them."""

from pathlib import Path

import pytest
from conftest import Here

from resexp.errors import UserError

COMPUTING = ["train", "evaluate", "export", "diagnose"]
"""Verbs with a device."""


@pytest.mark.parametrize("verb", COMPUTING)
@pytest.mark.parametrize(
    ("setting", "line"),
    [("threads=-1", "threads=-1: must be 0 or more"), ("device=tpu", "device=tpu: choose auto, cpu, cuda")],
)
def test_device_and_threads(here: Here, verb: str, setting: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        here(verb, setting)


@pytest.mark.parametrize("verb", ["train", "evaluate", "export"])
def test_precision(here: Here, verb: str) -> None:
    with pytest.raises(UserError, match="precision=int8: choose auto, fp32, tf32, bf16 or fp16"):
        here(verb, "precision=int8")


@pytest.mark.parametrize("verb", ["report", "check", "status", "diagnose", "collect", "evaluate", "export"])
def test_a_folder_without_runs(here: Here, tmp_path: Path, verb: str) -> None:
    with pytest.raises(UserError, match=r"runs=none: no .*runs? .*there; train some with .* runs=PATH"):
        here(verb, "runs=none", *(["name=figure1"] if verb == "collect" else []))
    assert not list(tmp_path.iterdir())

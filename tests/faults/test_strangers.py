"""Files with good digests that this program did not write: read, or refused by name; no traceback, no hang."""

import copy
import itertools
import json
import math
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Here
from faulty import tried
from synthetic import Synthetic

from resexp.analysis.rerun import commands
from resexp.analysis.study import load_study
from resexp.commands.check import lines
from resexp.commands.status import status
from resexp.config.settings import recorded
from resexp.errors import UserError
from resexp.publish.readme import experiment
from resexp.report import tables
from resexp.report.answers import answers
from resexp.report.page import values
from resexp.storage.run import Run, result_digest
from resexp.sweep.plan import speeds
from resexp.system.files import digest, sealed

STRANGE: list[Any] = [
    *(None, True, "x", "", "\x1b[2J", "\udcff", "<script>alert(1)</script>", "../../x", "x" * 2000),
    *(-1, 0, 10**30, 1.5, math.nan, math.inf, -math.inf, [], {}, [[]], [None], {"a": {}}, ["\x1b[2J"]),
]


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a nested content."""
    if at:
        yield at
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inside:
        yield from places(value, (*at, key))


def changed(content: Any, at: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value in one place."""
    content = copy.deepcopy(content)
    place = content
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = value
    return content


def read_everywhere(runs: Path) -> str:
    """What became of the only run in a folder, once every verb that needs no network has read it."""
    run = Run(runs / "cifar10/short32/plain20/seed0")
    shown = status(run, runs)
    shown.cells()
    speeds(runs, "auto")
    study = load_study(runs)
    for group in study.groups:
        commands(group)
        experiment(runs, group)
        tables.final_csv(group)
        values(group, answers(group, [group], runs, 0.005), 0.005, {}, runs, folded=False)
        for one in group.networks[0].runs:
            text = json.dumps([tables.markdown(group), one.device, one.progress, one.labels], ensure_ascii=False)
            assert "\x1b" not in text
            assert "<script" not in tables.markdown(group)
    assert lines
    assert bool(study.runs) != bool(study.problems)
    return "refused by name" if study.problems else "read"


def test_every_value_of_a_run_replaced_by_strange_ones(runs: Path, thorough: bool) -> None:
    run = Synthetic(runs, recipe="short32").add("plain20")
    config, known = run.config(), json.loads(run.record_file.read_text())
    del known["sha256"]
    cases = [("run.json", at, value) for at in places(known) for value in STRANGE]
    cases += [("config.yaml", at, value) for at in places(config) for value in STRANGE]
    became: Counter[str] = Counter()
    whole = run.config_file.read_bytes(), run.record_file.read_bytes()
    for name, at, value in cases if thorough else random.Random(0).sample(cases, 200):
        run.config_file.write_bytes(whole[0])
        run.record_file.write_bytes(whole[1])
        began = time.monotonic()
        if name == "run.json":
            content = changed(known, at, value)
            run.record_file.write_text(json.dumps(content | {"sha256": digest(json.dumps(content))}))
        else:
            run.config_file.write_text(sealed(yaml.safe_dump(changed(config, at, value))))
        try:
            became[read_everywhere(runs)] += 1
        except Exception as error:
            raise AssertionError(f"{name}: {at} = {value!r}"[:300]) from error
        assert time.monotonic() - began < 5
    assert min(became.values()) > 10
    line = f"a value of a run replaced by a strange one, {became.total()} times: {dict(became)}"
    tried("strange values", became.total(), line)


def bomb() -> str:
    """A short text of YAML that means 10 to the 9 values."""
    names = "abcdefghij"
    lists = [f"{one}: &{one} [{', '.join([f'*{before}'] * 10)}]" for before, one in itertools.pairwise(names)]
    return "\n".join(["a: &a [x]", *lists]) + "\n"


@pytest.mark.parametrize(
    "text", [bomb(), "[" * 50_000, "a: !!python/object/apply:os.getcwd []\n", "? {a: b}\n: c\n", "1\n"]
)
def test_a_configuration_that_is_no_plain_mapping_is_refused_at_once(runs: Path, text: str) -> None:
    run = Synthetic(runs, recipe="short32").add("plain20")
    run.config_file.write_text(sealed(text))
    began = time.monotonic()
    with pytest.raises(UserError, match=r"config\.yaml is damaged"):
        run.config()
    assert time.monotonic() - began < 5


def test_a_record_of_endless_depth_is_refused(runs: Path) -> None:
    run = Synthetic(runs, recipe="short32").add("plain20")
    run.record_file.write_text('{"final": ' + "[" * 100_000)
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        run.record()


def test_a_record_of_other_settings_is_refused_by_every_verb_that_reads(
    here: Here, status_of_damage: Here, runs: Path
) -> None:
    run = Synthetic(runs, recipe="short32").add("plain20")
    record = run.record()
    record.config_sha256 = result_digest(recorded(*list(run.config().values())[1:]).result())
    run.write_record(record)
    assert "finished" in here("status")
    record.config_sha256 = "0" * 64
    run.write_record(record)
    assert "of a run with other settings" in status_of_damage()
    for verb in (("report",), ("check",), ("collect", "name=x"), ("export",), ("evaluate", f"runs={run}")):
        with pytest.raises(UserError, match="of a run with other settings"):
            here(*verb)

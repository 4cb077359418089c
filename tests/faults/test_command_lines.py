"""Command lines as nobody should type them: each ends well or in one line, and leaves nothing behind."""

import io
import random
import sys
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from faulty import tried
from hydra.core.global_hydra import GlobalHydra
from synthetic import Synthetic

from resexp import cli
from resexp.config.presets import GROUPS, presets, settings_named
from resexp.formatting import printable

VALUES = [
    *("", "0", "1", "-1", "1.5", "1e400", "-0.0", "nan", "inf", ".5", "0x10", "1_000", "9" * 40, "007", "true"),
    *("null", "None", "yes", "a", "A b", "a=b", "a:b", "a,b", "1,2", "1,1", ",", ",,", "[]", "[1]", "[1,2"),
    *("[[1],[2]]", "{}", "[1,a,null]", "{a:1}", "{a", "'", "''", "'a", '"a"', "\\", "\\,", "${seed}", "${nope}"),
    *("${", "${seed", "???", "${oc.env:HOME}", "${oc.env:NOPE}", "${oc.decode:1}", "${hydra:job.name}", "${.x}"),
    *("${eval:1}", "$(ls)", "`ls`", "range(3)", "range(", "range(0)", "choice(1,2)", "choice()", "glob(*)"),
    *("glob(x*)", "interval(0,1)", "int(3)", "int(a)", "str([1,2])", "sort(2,1)", "shuffle(1,2)", "tag(a,1)"),
    *("extend_list(1)", "float(nan)", "bool(7)", "f()", "!!python/object:os.system", "&a", "*a", "|", "#", "%s"),
    *("{0}", "~", "~nobody/x", "/x/", "..", "../../x", "x" * 5000, "ä", "日本", "\u202e", "\u200b", "😀", "e\u0301"),
    *("\udcff", "a\nb", "\t", "\x1b[2J", "\x07", "\uff11", "٣", "\u22121", "½"),
]
OPTIONS = [
    *("-m", "--multirun", "-c", "--cfg", "--cfg=job", "--cfg=x", "--resolve", "-p", "--package=data", "--run"),
    *("--info", "--info=all", "--info=x", "--hydra-help", "--help", "-h", "--version", "--config-dir=."),
    *("--config-dir", "-cn=x", "--config-name=x", "--config-path=.", "-cp", "--experimental-rerun=x", "-sc"),
    *("-sc=install=bash", "--", "-", "-x", "--nope", "--nope=1", "-mm", "-cjob", "--mult", "--no-resolve", "---m"),
    *("-m=1", "\u2013m", "--cfg job"),
]
OWN = [
    *("hydra.run.dir", "hydra.sweep.dir", "hydra.job.chdir", "hydra.job.name", "hydra.verbose", "hydra.mode"),
    *("hydra", "hydra/launcher", "hydra/sweeper", "hydra/job_logging", "hydra/output", "hydra/help"),
    *("hydra.launcher.n_jobs", "hydra.sweeper.params", "hydra.sweeper.params.seed", "hydra.searchpath"),
    *("hydra.output_subdir", "hydra.nope", "hydra.env", "hydra.callbacks", "hydra.runtime.cwd"),
    *("hydra.overrides.task", "hydra.hydra_help", "_target_"),
]
PREFIXES = ["", "", "", "", "+", "++", "~", "+~", "@", "-", " ", ".", "$"]
SIGNS = ["=", "=", "=", "=", "", "==", ":", " = ", "+=", "@:=", "@x="]


def misspelt(name: str, chance: random.Random) -> str:
    """A name with one character changed, lost, doubled or put elsewhere."""
    at = chance.randrange(len(name))
    return name[:at] + chance.choice(["", name[at] * 2, name[at].upper(), "ä", ".", "/", " "]) + name[at + 1 :]


def word(verb: str, names: list[str], chance: random.Random) -> str:
    """A setting of the verb or nearly one, with a value that it may or may not have."""
    name = chance.choice([*names, chance.choice(OWN)] if chance.random() < 0.3 else names)
    if chance.random() < 0.15:
        name = misspelt(name, chance)
    if name in GROUPS and chance.random() < 0.6:
        value = chance.choice([path.stem for path in presets(name)])
    else:
        value = chance.choice(VALUES)
    if chance.random() < 0.1:
        value += chance.choice(VALUES)[:50]
    odd = chance.random() < 0.5
    return f"{chance.choice(PREFIXES) if odd else ''}{name}{chance.choice(SIGNS) if odd else '='}{value}"


def line(number: int) -> list[str]:
    """The words of a command line; it trains nothing, and writes nothing where all goes well."""
    chance = random.Random(number)
    verb = chance.choice(["train"] * 6 + [*cli.VERBS, *cli.VERBS, "", "trian", "Train", "ä", "-m", "seed=1"])
    names = sorted(settings_named(verb) - {"plan", "runs"}) if verb in cli.VERBS and verb != "models" else ["seed"]
    words = [word(verb, names, chance) for _ in range(chance.choice([0, 1, 1, 1, 1, 1, 2, 3]))]
    words += chance.sample(OPTIONS, chance.choice([0, 0, 0, 0, 1, 2]))
    chance.shuffle(words)
    last = {"train": ["plan=true"], "status": ["runs=study"], "check": ["runs=study"]}.get(verb, [])
    return [verb, *words, *(last if chance.random() < 0.9 or verb == "train" else [])]


def ended(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The status of a command line, and what it wrote to standard error."""
    monkeypatch.setattr(sys, "argv", ["resexp", *words])
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors), pytest.raises(SystemExit) as left:
        cli.main()
    GlobalHydra.instance().clear()
    assert isinstance(left.value.code, int)
    return left.value.code, errors.getvalue()


def test_each_ends_well_or_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, thorough: bool) -> None:
    study = Synthetic(tmp_path / "study", recipe="short32")
    study.add_all(["plain20"], seeds=2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOMP_SPINCOUNT", "")
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    there = sorted(tmp_path.rglob("*"))
    statuses: Counter[int] = Counter()
    wrong: list[str] = []
    for number in range(1500) if thorough else random.Random(0).sample(range(1500), 60):
        words, began = line(number), time.process_time()
        try:
            status, said = ended(words, monkeypatch)
        except BaseException as error:
            wrong.append(f"{number}: {words!r}: {type(error).__name__}: {error}"[:600])
            GlobalHydra.instance().clear()
            continue
        statuses[status] += 1
        one_line = said.startswith("resexp: ") and said.endswith("\n") and printable(said[:-1]) == said[:-1]
        if "Traceback" in said or (status and not one_line) or time.process_time() - began > 5:
            wrong.append(f"{number}: {words!r}: {status}, {time.process_time() - began:.1f} s: {said}"[:600])
        if sorted(tmp_path.rglob("*")) != there:
            wrong.append(f"{number}: {words!r} has left files")
            there = sorted(tmp_path.rglob("*"))
    assert not wrong, "\n".join(wrong)
    count = statuses.total()
    tried(
        "command lines", count, f"odd command lines: {count}, {statuses[0]} of them done, the others ended in one line"
    )

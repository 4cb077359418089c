"""With json=true every verb prints one JSON list, which says what its table says; model and seed choose runs."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, Command, Here
from hydra.core.global_hydra import GlobalHydra
from synthetic import Synthetic

from resexp.cli import VERBS
from resexp.config.compose import compose
from resexp.config.presets import settings_named
from resexp.errors import UserError
from resexp.printing import plain, printing
from resexp.storage.run import INTERRUPTED, Run, find_runs
from resexp.training.train import train

ON_CPU = ("device=cpu", "threads=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks with two seeds each, and a folder of exported weights that is not there yet."""
    folder = tmp_path_factory.mktemp("trained") / "runs"
    for name in ("plain20", "resnet20"):
        for seed in (0, 1):
            train(compose(*TINY, f"model={name}", f"seed={seed}", f"runs={folder}"))
    GlobalHydra.instance().clear()
    return folder


@pytest.fixture
def study(runs: Path) -> Synthetic:
    """Two seeds of the paper's networks, and one of a setting that was swept."""
    study = Synthetic(runs)
    study.add_all(["plain20", "plain56", "resnet20", "resnet56"], seeds=2)
    Synthetic(runs, changes={"recipe.lr": 0.05}).add("plain20", train=0.02, test=0.1)
    return study


def programs(here: Here, *arguments: str) -> list[Any]:
    """What a command prints with json=true, where it logs nothing."""
    return json.loads(here(*arguments, "json=true"))


def test_every_verb_has_it() -> None:
    assert all("json" in settings_named(verb) for verb in VERBS)


def test_train_says_what_became_of_each_run_and_what_it_plans(here: Here, capfd: pytest.CaptureFixture[str]) -> None:
    (planned,) = programs(here, "train", *TINY, "plan=true")
    assert (planned["outcome"], planned["seconds"]) == ("new", None)
    capfd.readouterr()
    (alone,) = programs(here, "train", *TINY)
    final = Run(Path(alone["run"])).record().final
    assert alone == {"run": planned["run"], "outcome": "finished", "error": None, "log": None} | {
        name: final[name] for name in ("running_error", "test_error")
    }
    assert programs(here, "train", *TINY) == [alone | {"outcome": "finished before"}]
    first, second = json.loads(here("train", "-m", *TINY, "seed=0,1", "json=true").rpartition("]")[0] + "]")
    assert (first, second["outcome"]) == (alone | {"outcome": "finished before"}, "finished")
    for words in (("recipe.batch_size=97",), ("-m", "recipe.batch_size=97,98")):
        with pytest.raises(UserError, match=r"failed|larger than"):
            here("train", *TINY, *words, "json=true")
        failed, *_ = json.loads(capfd.readouterr().out)
        assert (failed["outcome"], failed["running_error"]) == ("failed", None)
        assert "larger than the training set of 96 images" in failed["error"]
    assert [one["outcome"] for one in programs(here, "train", "-m", *TINY, "seed=1,2", "plan=true")] == [
        "finished",
        "new",
    ]


def test_what_json_has_no_word_for_is_null_or_text(capsys: pytest.CaptureFixture[str]) -> None:
    given = {"a": math.nan, "b": (Path("x/y"), -math.inf), 3: 0.1}
    assert plain(given) == {"a": None, "b": ["x/y", None], "3": 0.1}

    def fails() -> None:
        with printing(as_json=True) as show:
            show("text", given, {"more": 1})
            raise UserError("later")

    with pytest.raises(UserError, match="later"):
        fails()
    assert json.loads(capsys.readouterr().out) == [plain(given), {"more": 1}]


def test_models(here: Here) -> None:
    models = {one["model"]: one for one in programs(here, "models")}
    lines = {line.split()[0]: line for line in here("models").splitlines()[1:]}
    for name, one in models.items():
        assert f"{one['parameters']:,}" in lines[name]
        assert one["paper_test_error"] is None or f"{100 * one['paper_test_error']:.2f}%" in lines[name]
    assert models["plain20"]["parameters_with_b"] is None
    assert models["resnet20"]["parameters_with_c"] == 283_962
    assert (models["resnet56"]["parameters"], models["resnet56"]["paper_test_error"]) == (853_018, 0.0697)
    assert lines["resnet20"].split()[2:5] == ["269,722", "272,474", "283,962"]
    assert lines["plain20"].split()[2:5] == ["269,722", "-", "-"]


@pytest.mark.usefixtures("study")
def test_check(resexp: Command) -> None:
    words = ("check", "model=plain20,resnet56", "seed=0")
    done, told = resexp(*words, "json=true"), resexp(*words)
    assert done.returncode == told.returncode
    judged = json.loads(done.stdout)
    assert [one["run"].rpartition("/")[0] for one in judged] == [
        *("cifar10/paper/plain20", "cifar10/paper/resnet56"),
        "cifar10/paper0.05/plain20",
    ]
    for one in judged:
        assert f"runs/{one['run']}: {one['judgement']}" in told.stdout.lower()
        assert all(0 <= one <= 1 for compared in one["compared"] for one in (compared["value"], *compared["expected"]))
    assert judged[1]["compared"]


@pytest.mark.usefixtures("study")
def test_report(here: Here) -> None:
    groups = programs(here, "report")
    printed = here("report")
    (papers,) = [one for one in groups if one["recipe"] == "paper"]
    assert papers["verdict"] in " ".join(here("report", "verbose=true").split())
    assert "plain-56 minus plain-20: +4.3 (1.8 to 6.8), 2 seeds: degradation observed" in printed.splitlines()
    for network in papers["networks"]:
        assert network["seeds"] == [0, 1]
        for metric in ("test_error", "running_error"):
            assert f"{100 * network[metric]:.2f} ±" in printed
    assert {one["role"] for one in papers["contrasts"]} >= {"declared", "secondary"}
    assert {"text", "outcome"} <= papers["claims"][0].keys()


@pytest.mark.usefixtures("study")
def test_compare(here: Here) -> None:
    rows = programs(here, "compare", "over=recipe.lr")
    printed = here("compare", "over=recipe.lr")
    assert [(one["series"], one["value"], one["seeds"]) for one in rows] == [
        ("plain-20", "0.05", [0]),
        ("plain-20", "0.1", [0, 1]),
    ]
    assert rows[1]["running_error_more"] is None
    assert f"{100 * rows[0]['running_error_more']:+.2f}" in printed
    assert f"{100 * rows[1]['test_error']:.2f}" in printed


@pytest.mark.usefixtures("study")
def test_collect(here: Here) -> None:
    runs = programs(here, "collect", "name=x")
    assert len(runs) == 9
    assert all(one["copied"] and Path(one["run"], "history.csv").exists() for one in runs)
    again = json.loads(here("collect", "name=x", "json=true").partition("\n9 runs collected before")[0])
    assert [one["run"] for one in again] == [one["run"] for one in runs]
    assert not any(one["copied"] for one in again)


def test_evaluate_measures_a_folder_or_what_is_chosen_of_it(here: Here, trained: Path) -> None:
    runs = f"runs={trained}"
    measured = programs(here, "evaluate", runs, *ON_CPU)
    printed = here("evaluate", runs, *ON_CPU).splitlines()
    assert len(measured) == len(printed) == 4
    for one, line in zip(measured, printed, strict=True):
        assert line.startswith(f"{one['source']}: {one['model']} after 12 of 12 iterations: test error")
        assert f"{100 * one['error']:.2f}%" in line
        assert f"loss {one['loss']:.4f}" in line
    for words in ("model=plain20+depth8 seed=1", "model=[plain20+depth8] seed=[1]"):
        assert programs(here, "evaluate", runs, *words.split(), *ON_CPU) == [measured[1]]
    assert programs(here, "evaluate", f"runs={measured[1]['source']}", *ON_CPU) == [measured[1]]
    both = programs(here, "evaluate", runs, "model=resnet20+depth8,plain20+depth8", "seed=0", *ON_CPU)
    assert [one["model"] for one in both] == ["plain20", "resnet20"]


def test_evaluate_names_a_run_that_cannot_be_measured_and_measures_the_others(
    resexp: Command, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs").symlink_to(trained)
    lost = Run(find_runs(trained)[0].directory)
    kept = lost.checkpoint_file.rename(lost.directory / "kept.pt")
    done = resexp("evaluate", "json=true", *ON_CPU)
    kept.rename(lost.checkpoint_file)
    assert len(json.loads(done.stdout)) == 3
    assert done.returncode == 1
    assert "plain20+data_image_size8" in done.stderr
    assert done.stderr.endswith("resexp: 1 of 4 runs could not be measured\n")


def test_export_and_its_second_time(resexp: Command, trained: Path) -> None:
    words = ("export", f"runs={trained}", "out=weights", "model=plain20+depth8,resnet20+depth8", "seed=0", *ON_CPU)
    done = resexp(*words)
    first, second = (json.loads(resexp(*words, "json=true").stdout) for _ in range(2))
    assert first == second
    assert len(first) == 2
    for one in first:
        assert f"{one['weights']}  test error {100 * one['test_error']:.2f}%" in done.stdout


def test_diagnose(resexp: Command, trained: Path, tmp_path: Path) -> None:
    words = ("diagnose", "construction", f"runs={trained}", "model=plain20+depth8", "seed=0", "depths=14,20", *ON_CPU)
    told = resexp(*words).stdout
    (found,) = json.loads(resexp(*words, "json=true").stdout)
    assert found["diagnosis"] == "construction"
    assert found["sentence"] in told
    assert len(found["rows"]) == 2
    for row in found["rows"]:
        assert any(all(cell in line for cell in row.values()) for line in told.splitlines())
    assert (tmp_path / found["csv"]).read_text().count("built from plain20+depth8") > 0


@pytest.mark.parametrize("verb", ["check", "diagnose", "evaluate", "export"])
@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("model=plain44", r"^model=plain44: no (finished )?run of it .*"),
        ("model=[]", r"^model=\[\]: name some, or leave it out$"),
        ("seed=0,-1", r"^seed=-1: from 0 to 2147483647$"),
        ("seed=x", r"^seed\[0\]: 'x' is not a whole number$"),
        ("seeds=0", r"^seeds: no such setting; did you mean seed\?$"),
        ("networks=plain20", r"^networks: no such setting; resexp \w+ --help lists the settings$"),
        ("run=runs", r"^run: no such setting; did you mean runs\?$"),
        ("runs=a,b", r"^runs: takes one value, not 2$"),
        ("model=[plain20", r"^model=\[plain20: cannot be read as NAME=VALUE"),
    ],
)
def test_a_wrong_choice_is_one_line(here: Here, trained: Path, verb: str, setting: str, line: str) -> None:
    first = ["responses"] if verb == "diagnose" else []
    with pytest.raises(UserError, match=line):
        here(verb, *first, f"runs={trained}", setting)


def test_a_choice_names_what_there_is(here: Here, study: Synthetic) -> None:
    study.add("plain110", state=INTERRUPTED)
    with pytest.raises(UserError, match=r"^model=plain110: no finished run of it there; choose plain20, plain56,"):
        here("export", "model=plain110")
    with pytest.raises(UserError, match=r"^seed=1: no run of it there; choose 0$"):
        here("check", "model=plain110", "seed=1")


@pytest.mark.parametrize("verb", ["status", "report", "compare", "check", "diagnose", "evaluate", "export", "collect"])
def test_the_place_may_be_the_directory_of_one_run(here: Here, trained: Path, verb: str) -> None:
    more = {
        "collect": ("name=x",),
        "diagnose": ("lesions", "lesion_images=4", *ON_CPU),
        "export": (*ON_CPU, "out=weights"),
        "evaluate": ON_CPU,
    }
    words = more.get(verb, ())
    run = find_runs(trained)[0].directory
    if verb == "compare":
        with pytest.raises(UserError, match="no finished runs differ in one setting alone"):
            here(verb, f"runs={run}")
    else:
        assert here(verb, *words, f"runs={run}")

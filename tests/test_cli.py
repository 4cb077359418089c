"""The command line: what it refuses, what it prints and where, and what it leaves on the disk."""

import json
import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import TINY, Command, Here
from synthetic import Synthetic

from resexp import cli
from resexp.errors import UserError
from resexp.system import logs

BAD = [
    ("model=resnet57", r"model=resnet57: no such choice; choose .*resnet56"),
    ("model.depth=2", r"model\.depth=2: .* 8"),
    ("model.shortcut=D", r"model\.shortcut=D: choose A, B or C"),
    ("model.width=0", r"model\.width=0"),
    ("model.norm=layer", r"model\.norm=layer: choose batch or none"),
    ("model.linear=xavier", r"model\.linear=xavier: choose default \(PyTorch's\) or he"),
    ("model.name=mine", r"model\.name=mine"),
    ("data=cifar", r"data=cifar: no such choice; choose cifar10, cifar100, folder, shapes"),
    ("data.foo=1", r"data\.foo: no such setting"),
    ("data.validation=3", r"data\.validation=3: a multiple of 10 from 0 to 49990"),
    ("data.seed=abc", r"data\.seed: .*abc"),
    ("recipe=none", r"recipe=none: no such choice; choose .*paper"),
    ("recipe.lr=abc", r"recipe\.lr: .*abc"),
    ("recipe.lr=0", r"recipe\.lr=0.* above 0"),
    ("recipe.lr=-0.1", r"recipe\.lr=-0\.1: must be above 0"),
    ("recipe.lr=nan", r"recipe\.lr=nan: must be above 0"),
    ("recipe.iterations=0", r"recipe\.iterations=0: must be 1 or more"),
    ("recipe.iterations=1.5", r"recipe\.iterations: .*1\.5"),
    ("recipe.batch_size=0", r"recipe\.batch_size=0: must be 1 or more"),
    ("recipe.drops=[3,2]", r"recipe\.drops=\[3, 2\]: .*rising"),
    ("recipe.warmup=true", r"recipe\.warmup=.*auto"),
    ("recipe.evaluate_every=5", r"recipe\.evaluate_every=5: must be a multiple of recipe\.row_every=2"),
    ("recipe.foo=1", r"recipe\.foo: no such setting"),
    ("foo=1", r"foo: no such setting"),
    ("+foo=1", r"foo: no such setting"),
    ("+recipe.foo=1", r"recipe\.foo: no such setting"),
    ("seed=-1", r"seed=-1"),
    ("seed=a", r"seed: .*a"),
    ("precision=fp16", r"precision=fp16: only on CUDA devices; use precision=bf16"),
    ("engine=warp", r"engine=warp: choose"),
    ("experiment=none", r"experiment=none: no such choice; choose .*figure1"),
    ("model=plain20,plain56", r"model=plain20,plain56: several values are a sweep; add -m"),
    ("runs=/dev/null/runs", r"runs: cannot write /dev/null.*; choose a folder with runs=PATH"),
    ("model=resnet26", r"model=resnet26: no such choice; .*; model\.depth=N gives any other depth"),
    ("lr=0.1", r"lr: no such setting; did you mean recipe\.lr\?"),
    ("modle=resnet20", r"modle: no such setting; did you mean model\?"),
    ("data.trian_images=9", r"data\.trian_images: no such setting; did you mean data\.train_images"),
    ("recipe.drops=20", r"recipe\.drops: not a list in brackets"),
    ("recipe.drops=[20", r"recipe\.drops=\[20: cannot be read as NAME=VALUE"),
    ("resnet20", r"resnet20: settings are NAME=VALUE"),
    ("--model", r"--model: no such option; settings are NAME=VALUE"),
    ("recipe.batch_size=97", r"recipe\.batch_size=97: larger than the training set of 96 images"),
]


@pytest.mark.parametrize(("setting", "line"), BAD)
def test_a_wrong_setting_is_named_in_one_line(here: Here, tmp_path: Path, setting: str, line: str) -> None:
    group, in_group, _ = setting.partition("=")[0].partition(".")
    replaced = group == "data" or not in_group
    with pytest.raises(UserError, match=line) as error:
        here("train", *(one for one in TINY if not (replaced and one.startswith(group))), setting)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("checkpoint.pt"))


REFUSED = [
    (("trian",), "trian: no such verb; choose train, status"),
    (("models", "seed=0"), "seed: no such setting; resexp models --help"),
    (("train", "-m", *TINY, "model.depth=8,9"), r"model\.depth=9"),
    (("train", "-m", "model=glob(nothing*)"), "holds no run"),
    (("train", "-m", *TINY, "precision=fp32,bf16"), "the same run twice"),
    (("train", "model=plain20", "data.dir=.", "data.download=false"), "CIFAR-10 is not in"),
    (("train", "model=plain20", "data=folder", "data.dir=nowhere"), "must hold train/CLASS/"),
    (("train", *TINY, "model=plain20", "model.shortcut=B"), r"model\.shortcut=B: a plain network has no shortcuts"),
    (("train", *TINY, "model=plain20", "model.skip=1"), r"model\.skip=1: a plain network has no shortcuts"),
    (("train", "model.skip=4"), r"model\.skip=4: must divide the 6 layers of a stage"),
    (("train", "model.skip=0"), r"model\.skip=0: must divide the 6 layers"),
    (("train", *TINY, "engine=graph"), "engine=graph: for CUDA devices only"),
    (("train", *TINY, "device=cuda:99"), r"device=cuda:99: .*use device=auto or device=cpu"),
    (("train", *TINY, "precision=tf32"), r"precision=tf32: only on CUDA devices"),
    (("train", *TINY, "data.dir=."), r"data\.dir: not a setting of the data that is chosen; data=NAME"),
    (("report", "-m", "runs=nowhere"), "-m: only resexp train sweeps"),
    (("train", "--config-dir=nowhere", *TINY), "--config-dir=nowhere: no such folder"),
    (("train", "model=null"), "model=null: no such choice; choose plain20"),
    (("train", "model=1"), "model=1: no such choice; choose plain20"),
    (("train", "model=[1,2]"), r"model=\[1,2\]: no such choice; choose plain20"),
    (("train", "experiment=null"), "experiment=null: no such choice; choose .*figure1"),
    (("train", "@seed=1"), "@seed=1: settings are NAME=VALUE"),
    (("train", "=1"), "=1: settings are NAME=VALUE"),
    (("train", "seed@x=1"), "seed@x=1: settings are NAME=VALUE"),
    (("train", "--resolve"), "--resolve: says how settings are shown; add --cfg job"),
    (("train", "-m", "--cfg", "job"), "--multirun --cfg: ask for one of these at a time"),
    (("train", "--experimental-rerun=x"), "--experimental-rerun: no such option"),
    (("train", "--cfg"), "argument --cfg/-c: expected one argument"),
    (("train", "-sc"), "-sc: stands alone"),
    (("-sc",), "-sc: eval"),
    (("-sc", "x"), "-sc: eval"),
    (("train", "hydra.run.dir=/proc/x"), "hydra.run.dir=/proc/x: runs=PATH says where runs lie"),
    (("train", "hydra.sweep.dir=x"), "hydra.sweep.dir=x: runs=PATH says where runs lie"),
    (("train", "hydra.searchpath=[file:///x]"), r"hydra\.searchpath=file:///x: no such folder"),
    (("train", "hydra.searchpath=[pkg://nothing.there]"), r"hydra\.searchpath=pkg://nothing\.there: no such folder"),
    (("train", "hydra.searchpath=mine"), r"hydra\.searchpath=mine: a list of folders"),
    (("train", "hydra/job_logging=default"), r"hydra/job_logging=default: each run keeps its train\.log"),
    (("train", "hydra.hydra_logging=null"), r"hydra\.hydra_logging=null: each run keeps its train\.log"),
    (("train", "hydra.job.chdir=true"), "hydra.job.chdir=true: resexp sets that itself; leave it out"),
    (("train", "hydra=1"), "hydra=1: resexp sets that itself"),
    (("train", "-m", "hydra/sweeper=basic"), "hydra/sweeper=basic: resexp sets that itself.*hydra/sweeper=optuna"),
    (("train", "--config-name=report"), "--config-name: no such option"),
    (("train", "+hydra/verbose=1"), "hydra/verbose: no such setting"),
    (("report", "hydra.mode=MULTIRUN"), "-m: only resexp train sweeps"),
    (
        ("train", *TINY, "data.train_images=10000000", "data.image_size=1024"),
        r"needs about \d+\.\d TB .*lower data\.image_size",
    ),
    (
        ("train", *TINY, "model.width=64", "model.depth=9998"),
        r"needs about \d+\.\d .B of memory, .* are there; lower .*model",
    ),
    (("train", *TINY, "recipe.pad=1024", "data.train_images=1000000"), r"needs about \d+\.\d TB .*recipe\.pad"),
    (("train", "seeds=0,1"), r"seeds: no such setting; did you mean seed\?"),
    (("train", "seed=0,1"), "seed=0,1: several values are a sweep; add -m"),
    (("status", "json=${nope}"), "json: Interpolation key 'nope' not found"),
    (("report", "paper_points=${oc.decode:1}"), "paper_points: TypeError raised while resolving"),
    (("train", *TINY, "seed=${eval:1}"), "seed: Unsupported interpolation type eval"),
]


def test_hydras_logging_can_be_disabled_and_train_log_is_whole(resexp: Command, tmp_path: Path) -> None:
    for words in ((), ("-m", "seed=1,2", "hydra/hydra_logging=disabled")):
        done = resexp("train", *words, *TINY, "hydra/job_logging=disabled")
        assert (done.returncode, done.stdout) == (0, "")
        assert "iterations on cpu" not in done.stderr
    logs = [path.read_text() for path in tmp_path.rglob("train.log")]
    assert len(logs) == 3
    assert all("12 iterations on cpu" in text and "finished in" in text for text in logs)
    assert not [*tmp_path.glob("*.log")]


@pytest.mark.parametrize(("arguments", "line"), REFUSED)
def test_what_cannot_start_leaves_nothing(here: Here, tmp_path: Path, arguments: tuple[str, ...], line: str) -> None:
    with pytest.raises(UserError, match=line):
        here(*arguments)
    assert not list(tmp_path.iterdir())


def test_a_fresh_run_that_cannot_start_leaves_the_old_one_in_its_place(here: Here, tmp_path: Path) -> None:
    here("train", *TINY)
    for setting in ("engine=graph", "device=cuda:99"):
        with pytest.raises(UserError, match=setting):
            here("train", *TINY, "fresh=true", setting)
    assert list(tmp_path.glob("runs/**/history.csv"))


def test_a_wrong_setting_gives_one_line_and_a_status(resexp: Command) -> None:
    done = resexp("train", "data=shapes", "model.depth=21")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "resexp: model.depth=21: a depth is 6n + 2; the nearest are 20 or 26\n"


def test_a_sweep_trains_every_run_and_skips_the_finished(here: Here, tmp_path: Path) -> None:
    sweep = ("train", "-m", *TINY, "model=plain20,resnet20", "seed=0,1")
    assert here(*sweep).count("finished, training error") == 4
    curves = {path: path.read_bytes() for path in tmp_path.rglob("history.csv")}
    assert sorted(path.parent.name for path in curves) == ["seed0", "seed0", "seed1", "seed1"]
    assert here(*sweep).count("finished before") == 4
    assert {path: path.read_bytes() for path in tmp_path.rglob("history.csv")} == curves
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}


def test_a_failing_run_does_not_stop_the_others(here: Here, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="1 of 3 runs failed; the same command tries them again"):
        here("train", "-m", *TINY, "recipe.batch_size=20,97,10")
    output = capfd.readouterr().err
    assert output.count("finished, training error") == 2
    (line,) = [line for line in output.splitlines() if "failed: recipe.batch_size=97: larger than the training" in line]
    assert "batch_size" in Path(line.rpartition("; see ")[2]).read_text()
    assert len(list(tmp_path.rglob("history.csv"))) == 2


def test_options_may_stand_anywhere(here: Here, tmp_path: Path) -> None:
    assert "margin: 1" in here("report", "margin=1", "--info")
    assert "margin: 1" in here("report", "--cfg", "job", "--", "margin=1")
    here("train", *TINY, "-m", "seed=0,1")
    assert len(list(tmp_path.rglob("run.json"))) == 2


def test_an_experiment_is_a_sweep_by_itself(here: Here, tmp_path: Path) -> None:
    assert here("train", "experiment=figure1", *TINY).count("finished, training error") == 2
    assert {path.parents[1].name[:7] for path in tmp_path.rglob("history.csv")} == {"plain20", "plain56"}


def test_nothing_but_the_run_is_written_and_the_log_is_closed(here: Here, tmp_path: Path) -> None:
    here("train", *TINY)
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    (directory,) = [path.parent for path in tmp_path.rglob("run.json")]
    names = {path.name for path in directory.iterdir() if "tfevents" not in path.name}
    assert names == {".lock", "checkpoint.pt", "config.yaml", "history.csv", "run.json", "timing.csv", "train.log"}
    assert not [one for one in logging.getLogger("resexp").handlers if isinstance(one, logging.FileHandler)]


def test_messages_go_to_stderr_and_a_finished_run_is_recognised_without_importing_torch(resexp: Command) -> None:
    for line, environment in (("finished in", {}), ("finished already", {"PYTHONPROFILEIMPORTTIME": "1"})):
        done = resexp("train", *TINY, env=environment)
        assert (done.returncode, done.stdout) == (0, "")
        assert line in done.stderr
    assert not [line for line in done.stderr.splitlines() if line.endswith("| torch")]


def test_help_and_version_say_what_there_is(here: Here) -> None:
    assert "resexp train experiment=quick" in here("--help")
    assert here("--version").startswith("resexp ")
    assert {here(verb, "--version") for verb in cli.VERBS} == {here("--version")}
    assert here() == here("--help")


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help_of_its_own(here: Here, verb: str) -> None:
    assert f"resexp {verb}" in here(verb, "--help")


def test_help_says_what_each_setting_means(here: Here) -> None:
    output = here("train", "--help")
    assert "threads: 0 # CPU threads, 0 for all cores" in output
    assert "model=NAME: plain20, plain32, plain44, plain56, plain110, resnet20" in output
    assert "recipe.flip: true # random horizontal flips" in output
    assert "hydra" not in output
    assert "out: report # folder for the figures" in here("report", "-h")


def test_a_schedule_that_ends_before_its_drops_gives_a_warning(here: Here, caplog: pytest.LogCaptureFixture) -> None:
    line = "recipe.iterations=12, recipe.drops=[60, 70]: the rate is never lowered; recipe.drops=[...] moves the drops"
    assert line in here("train", *TINY, "recipe.drops=[60,70]", "plan=true")
    here("train", *TINY, "recipe.drops=[60,70]")
    assert line in caplog.text
    assert "no drop at 12;" in here("train", *TINY, "recipe.drops=[6,12]", "plan=true")
    assert "recipe.drops" not in here("train", *TINY, "plan=true")


def test_a_finished_run_in_another_precision_is_named_as_such(here: Here, caplog: pytest.LogCaptureFixture) -> None:
    line = "in fp32 instead of bf16; fresh=true or runs=PATH trains it again"
    here("train", *TINY, "precision=fp32")
    assert f"finished, {line}" in here("train", *TINY, "precision=bf16", "plan=true")
    here("train", *TINY, "precision=bf16")
    assert f"finished already, {line}" in caplog.text
    assert f"finished before, {line}" in here("train", "-m", *TINY, "precision=bf16")
    caplog.clear()
    here("train", *TINY)
    assert caplog.messages[-1].endswith("finished already")


@pytest.mark.parametrize(
    ("code", "unneeded"),
    [
        ("import resexp.cli; resexp.cli.dispatch(['--help'])", ["torch", "hydra", "omegaconf", "matplotlib", "yaml"]),
        ("import resexp.commands.check, resexp.commands.collect, resexp.storage.run", ["torch", "matplotlib"]),
        ("import resexp.cli; resexp.cli.dispatch(['status'])", ["torch", "matplotlib"]),
        (
            f"import resexp.cli, resexp.data.official; resexp.cli.dispatch(['train', *{TINY}])",
            ["torch._dynamo", "torchvision", "matplotlib", "PIL", "pandas"],
        ),
    ],
)
def test_nothing_is_imported_that_takes_long_and_is_not_needed(code: str, unneeded: list[str], tmp_path: Path) -> None:
    Synthetic(tmp_path / "runs").add("plain20")  # which status reads
    program = f"import sys; {code}; sys.exit(' '.join(sys.modules.keys() & {unneeded}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr.strip()) == (1, "")


def test_the_settings_of_a_run_can_be_shown(here: Here) -> None:
    settings = here("train", "model=plain56", "recipe.lr=0.05", "--cfg", "job")
    assert "depth: 56" in settings
    assert "lr: 0.05" in settings


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("resexp tr", {"train"}),
        ("resexp ", set(cli.VERBS)),
        ("resexp train model=plain1", {"model=plain110"}),
        ("resexp report ", {"runs=", "out=", "margin=", "paper_points=", "verbose=", "json="}),
        ("resexp status ", {"runs=", "json="}),
        ("resexp diagnose g", {"gradients", "group="}),
        ("resexp diagnose c", {"construction"}),
        ("resexp diagnose gradients seed=0,1 mo", {"model="}),
        ("resexp export model=plain1", {"model=plain110"}),
        ("resexp report mo", set()),
        ("resexp diagnose lesions les", {"lesion_images="}),
        ("resexp train --c", {"--cfg", "--config-dir"}),
        ("resexp train --config-dir ", set()),
        ("resexp train --multirun model=resnet12", {"model=resnet1202"}),
        ("resexp train --m", {"--multirun"}),
        ("resexp report --m", set()),
        ("resexp train --config-dir nowhere model=resnet12", {"model=resnet1202"}),
        ("resexp train 'half a word model=resnet12", {"model=resnet1202"}),
    ],
)
def test_the_shell_completes_verbs_and_their_own_settings(
    here: Here, monkeypatch: pytest.MonkeyPatch, line: str, expected: set[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert set(here("-sc", "query=bash").split()) == expected


@pytest.mark.parametrize("how", ["--config-dir mine", "--config-dir=mine", "'hydra.searchpath=[mine]'"])
def test_the_shell_completes_presets_of_ones_own(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "narrow.yaml").write_text("defaults: [resnet20]\nname: narrow\n")
    line = f"resexp train {how} seed=1 model=na"
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert here("-sc", "query=bash").split() == ["model=narrow"]


@pytest.mark.parametrize(
    ("experiment", "count", "run"),
    [
        ("regularisation", 12, "shapes/quick10/resnet56+data_image_size8+weight_decay0.005/seed2"),
        ("shortcuts", 18, "shapes/quick/resnet20+shortcutC/seed2"),
    ],
)
def test_an_experiment_names_all_its_runs(here: Here, experiment: str, count: int, run: str) -> None:
    printed = here("train", f"experiment={experiment}", "plan=true")
    assert f"{count} runs to train" in printed
    assert run in printed


def test_evaluate_measures_the_error_again(here: Here, tmp_path: Path) -> None:
    here("train", *TINY)
    (record_file,) = tmp_path.rglob("run.json")
    final, run = json.loads(record_file.read_text())["final"], f"runs={record_file.parent}"
    assert f"test error {100 * final['test_error']:.2f}%" in here("evaluate", run, "device=cpu")
    train_error = f"train error {100 * final['clean_train_error']:.2f}%"
    assert train_error in here("evaluate", run, "split=train", "device=cpu")
    with pytest.raises(UserError, match="held no images out"):
        here("evaluate", run, "split=validation")


@pytest.mark.parametrize(("set_by_user", "expected"), [(None, "10000"), ("7", "7")])
def test_threads_spin_briefly_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, set_by_user: str | None, expected: str
) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", set_by_user or "")
    if set_by_user is None:
        monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setattr(sys, "argv", ["resexp", "--version"])
    with pytest.raises(SystemExit):
        cli.main()
    assert os.environ["GOMP_SPINCOUNT"] == expected


def test_messages_that_nobody_reads_any_more_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as closed, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", closed)
        logs.Console().emit(logging.LogRecord("resexp", logging.INFO, "", 0, "hello", None, None))
        with suppress(BrokenPipeError):
            closed.close()

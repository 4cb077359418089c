"""Training from weights in a file: a run of its own, which begins where they are."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from conftest import Here
from faulty import finishes_as, interrupt, outcome

from resexp.analysis.paper import network_name
from resexp.analysis.rerun import commands
from resexp.analysis.study import load_study
from resexp.config.compose import compose
from resexp.config.settings import Config, recorded
from resexp.data.load import load as load_data
from resexp.errors import UserError
from resexp.publish.collect import collect
from resexp.storage import checkpoint
from resexp.storage.run import Run
from resexp.training import weights
from resexp.training.start import load
from resexp.training.train import train

PLAIN = ("model=plain20", "seed=1")


@pytest.fixture
def first(tiny: tuple[str, ...]) -> Run:
    """The run whose weights others begin with."""
    config = compose(*tiny, *PLAIN)
    train(config)
    return Run(config.directory)


def begins(config: Config) -> dict[str, torch.Tensor]:
    found = load(config, load_data(config.data))
    assert found is not None
    return found


def test_a_run_begins_with_the_weights_of_the_file(tiny: tuple[str, ...], first: Run) -> None:
    start = compose(*tiny, *PLAIN, f"start={first.checkpoint_file}", "recipe.lr=1e-12", "recipe.weight_decay=0")
    trained = checkpoint.load(first.checkpoint_file)["network"]
    assert all(torch.equal(value, trained[name]) for name, value in begins(start).items())
    train(start)
    ended = checkpoint.load(Run(start.directory).checkpoint_file)["network"]
    for name in (name for name in trained if name.endswith("weight")):
        torch.testing.assert_close(ended[name], trained[name])


def test_it_is_a_run_of_its_own_and_says_from_where_it_came(tiny: tuple[str, ...], first: Run, tmp_path: Path) -> None:
    config = compose(*tiny, *PLAIN, f"start={first.checkpoint_file}")
    whole = hashlib.sha256(first.checkpoint_file.read_bytes()).hexdigest()
    assert config.model.start == config.result()["model"]["start"] == whole[:12]
    assert f"+start{whole[:12]}+" in config.directory.parent.name
    assert train(config).start == {"file": str(first.checkpoint_file), "sha256": whole}
    kept = Run(config.directory).config()
    assert recorded(kept["result"], kept["execution"]).result() == config.result()
    moved = Path(shutil.copy(first.checkpoint_file, tmp_path / "moved.pt"))
    assert compose(*tiny, *PLAIN, f"start={moved}").directory == config.directory
    checkpoint.save(checkpoint.load(moved) | {"iteration": 11}, moved)
    assert compose(*tiny, *PLAIN, f"start={moved}").directory != config.directory


def test_runs_without_a_start_are_named_and_recorded_as_before(tiny: tuple[str, ...], first: Run) -> None:
    content = first.config()
    assert "start" not in content["result"]["model"] | content["execution"]
    assert compose(*tiny, *PLAIN, "start=null").directory == first.directory
    assert first.record().start == {}


def test_interrupted_it_resumes_to_the_same_bytes(tiny: tuple[str, ...], first: Run, tmp_path: Path) -> None:
    overrides = (*tiny, *PLAIN, f"start={first.checkpoint_file}")
    whole = compose(*overrides, f"runs={tmp_path}/whole")
    train(whole)
    broken = compose(*overrides, f"runs={tmp_path}/broken")
    interrupt(broken, 7)
    finishes_as(broken, outcome(whole))


def test_exported_weights_in_fp16_will_do(here: Here, tiny: tuple[str, ...], first: Run, tmp_path: Path) -> None:
    here("export", f"runs={first.directory.parents[3]}", "seed=1", "out=weights", "device=cpu")
    (path,) = (tmp_path / "weights").glob("*.pt")
    found = begins(compose(*tiny, *PLAIN, f"start={path}"))
    assert all(torch.equal(value, found[name]) for name, value in weights.load_file(path).network.items())


def test_a_study_tells_it_from_the_run_that_began_with_its_seed(
    tiny: tuple[str, ...], first: Run, tmp_path: Path
) -> None:
    train(compose(*tiny, *PLAIN, f"start={first.checkpoint_file}"))
    runs = first.directory.parents[3]
    study = load_study(runs)
    (group,) = study.groups
    assert not study.problems
    assert len(group.networks) == 2
    started = next(network for network in group.networks if "+start" in network.name)
    assert network_name({**started.model, "depth": 20}) is None
    assert f" start={first.checkpoint_file}" in " ".join(commands(group))
    collect(runs, tmp_path / "collected")
    for path in (tmp_path / "collected").rglob("*.*"):
        assert str(tmp_path) not in path.read_text()


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["model=resnet20"], r"weights of another network \(model\.residual False instead of True\)$"),
        (["model.depth=14"], r"weights of another network \(model\.depth 8 instead of 14\)$"),
        (["model.width=2"], r"weights of another network \(model\.width 1 instead of 2\)$"),
        (["model.norm=none"], r"weights of another network \(model\.norm batch instead of none\)$"),
        (
            ["data.noise=0.5"],
            r"trained on other images than those of data=shapes; name that data set and its",
        ),
    ],
)
def test_weights_of_another_network_or_other_images_are_refused_before_anything_is_changed(
    tiny: tuple[str, ...], first: Run, overrides: list[str], line: str
) -> None:
    config = compose(*tiny, *PLAIN, f"start={first.checkpoint_file}", *overrides)
    with pytest.raises(UserError, match=rf"^start=.*checkpoint\.pt: {line}"):
        train(config)
    assert not Run(config.directory).config_file.exists()


def test_a_file_that_is_missing_or_holds_no_weights_is_refused_in_one_line(
    tiny: tuple[str, ...], first: Run, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"^start=none\.pt: No such file or directory; name a file of weights \(.*\)$"):
        compose(*tiny, "start=none.pt")
    with pytest.raises(UserError, match=r"^start=.*: Is a directory; name a file of weights"):
        compose(*tiny, f"start={first.directory}")
    for path, line in (
        (first.config_file, "cannot be used (it has no digest: truncated, or not a checkpoint of this program)"),
        (tmp_path / "other.pt", "holds no weights of a network of this program"),
        (tmp_path / "part.pt", "does not fit plain20 ("),
    ):
        if path.name == "other.pt":
            checkpoint.save({"network": {}}, path)
        if path.name == "part.pt":
            checkpoint.save(checkpoint.load(first.checkpoint_file) | {"network": {}}, path)
        with pytest.raises(UserError) as error:
            train(compose(*tiny, *PLAIN, f"start={path}"))
        assert str(error.value).startswith(f"start={path}: {line}")
        assert "\n" not in str(error.value)


def test_the_experiment_finds_the_file_of_each_network_and_seed(here: Here, tmp_path: Path) -> None:
    built = tmp_path / "built" / "shapes" / "quick"
    built.mkdir(parents=True)
    for name in ("plain56", "resnet56"):
        (built / f"{name}-from-20-seed2.pt").write_text(name)
    lines = here("train", "experiment=construction", "seed=2", "plan=true").splitlines()
    assert len([line for line in lines if "+start" in line and "/seed2 " in line]) == 6
    with pytest.raises(UserError, match=r"start=built/shapes/quick/plain56-from-20-seed0\.pt: No such file"):
        here("train", "experiment=construction", "plan=true")

import argparse
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Here
from hypothesis import given
from hypothesis import strategies as st

from resexp.config.compose import compose, options_of
from resexp.config.naming import name_differences, run_name
from resexp.config.presets import conf_dir
from resexp.config.settings import ModelConfig, RecipeConfig, differing, flatten, recorded
from resexp.errors import UserError


def directory(*overrides: str) -> str:
    return str(compose(*overrides).directory)


def test_the_directory_says_what_a_run_is() -> None:
    assert directory("model=plain56") == "runs/cifar10/paper/plain56/seed0"
    assert directory("data=shapes", "recipe=quick", "seed=3") == "runs/shapes/quick/resnet20/seed3"
    assert directory("runs=/elsewhere/all") == "/elsewhere/all/cifar10/paper/resnet20/seed0"


def test_hydras_options_are_read_where_python_examines_their_help_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python 3.14 does; Hydra's for --shell-completion becomes a text only when it is shown."""

    def examine(parser: argparse.ArgumentParser, action: argparse.Action) -> None:
        if type(action.help) not in (str, type(None)):
            raise ValueError("badly formed help string")

    def add(parser: Any, *names: str, **settings: Any) -> argparse.Action:
        parser._check_help(action := added(parser, *names, **settings))
        return action

    added = argparse.ArgumentParser.add_argument
    monkeypatch.setattr(argparse.ArgumentParser, "_check_help", examine, raising=False)
    monkeypatch.setattr(argparse.ArgumentParser, "add_argument", add)
    options, others = options_of(["-m", "seed=0,1", "--config-dir", "own"])
    assert (options.multirun, options.overrides, options.config_dir, others) == (True, ["seed=0,1"], "own", [])


def test_what_differs_from_the_presets_stands_in_the_name() -> None:
    assert directory("model=plain56", "recipe.lr=0.05").endswith("/plain56+lr0.05/seed0")
    assert directory("model=plain56", "model.depth=62").endswith("/plain56+depth62/seed0")
    assert directory("recipe.drops=[10,20]").endswith("/resnet20+drops10-20/seed0")
    assert directory("data=shapes", "data.seed=1").endswith("/resnet20+data_seed1/seed0")
    assert directory("data=shapes", "data.seed=1") != directory("data=shapes", "seed=1")


def test_settings_given_as_a_whole_stand_in_the_name_too(here: Here, caplog: pytest.LogCaptureFixture) -> None:
    for depth in (8, 14):
        assert directory(f"model={{depth:{depth}}}").endswith(f"/resnet20+depth{depth}/seed0")
        assert f"/resnet20+depth{depth}/seed0 " in here("train", f"model={{depth:{depth}}}", "plan=true")
    small = ("data=shapes", "data.train_images=20", "data.test_images=10", "device=cpu")
    recipe = "recipe={iterations:1,drops:[],batch_size:4,row_every:1,evaluate_every:1}"
    said = here("train", "-m", *small, recipe, "model={depth:8},{depth:14}")
    assert said.count("  finished, training error") == 2, said


def test_the_mode_is_composed_only_where_a_file_may_set_it(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed: list[list[str]] = []

    def noted(_: Any, __: str | None, overrides: list[str]) -> None:
        composed.append(overrides)

    monkeypatch.setattr("resexp.config.compose._mode_in_files", noted)
    (tmp_path / "own").mkdir()
    here("train", "plan=true", "model=plain56", "recipe.lr=0.2")
    here("train", "-m", "plan=true", "seed=0,1")
    assert not composed
    here("train", "plan=true", "--config-dir", "own")
    here("train", "plan=true", "hydra.mode=RUN")
    here("train", "plan=true", "hydra.searchpath=[own]")
    assert len(composed) == 3


def test_an_override_that_repeats_the_preset_is_no_difference() -> None:
    assert directory("model=plain56", "recipe.lr=0.1", "model.depth=56").endswith("/plain56/seed0")


@pytest.mark.parametrize(
    "how",
    ["data.dir=/data", "data.download=false", "data.url=x", "device=cpu", "precision=fp32", "threads=1", "fresh=true"],
)
def test_places_and_ways_of_executing_never_count(how: str) -> None:
    assert directory(how) == directory()
    assert compose(how).result() == compose().result()


def test_two_folders_of_images_do_not_share_a_directory() -> None:
    flowers, birds = directory("data=folder", "data.dir=/a/flowers"), directory("data=folder", "data.dir=/a/birds")
    assert flowers.startswith("runs/folder+flowers/")
    assert flowers != birds


def test_a_long_name_is_cut_and_told_apart_by_a_digest() -> None:
    many = [f"recipe.drops=[{','.join(map(str, range(1, 60)))}]"]
    name = compose(*many).directory.parent.name
    other = compose(f"recipe.drops=[{','.join(map(str, range(1, 61)))}]").directory.parent.name
    assert len(name) < 160
    assert name != other


VALUES: dict[str, st.SearchStrategy[object]] = {
    "model.depth": st.integers(-9, 9),
    "recipe.lr": st.floats(0, 1),
    "recipe.drops": st.lists(st.integers(0, 9), max_size=3),
    "recipe.flip": st.booleans(),
    "data.dir": st.text("ab/_ =é", max_size=3),
}
"""Each setting has one type."""
DIFFERENCES = st.fixed_dictionaries({}, optional=VALUES)


@given(DIFFERENCES, DIFFERENCES)
def test_names_are_safe_and_differ_when_the_settings_do(one: dict[str, object], other: dict[str, object]) -> None:
    names = [name_differences(one), name_differences(other)]
    assert all(re.fullmatch(r"[A-Za-z0-9._+-]*", name) for name in names)
    if repr(sorted(one.items())) != repr(sorted(other.items())):
        assert names[0] != names[1]


def test_the_network_comes_first_in_a_name() -> None:
    result = {"model": {"name": "plain20", "depth": 20}, "recipe": {"lr": 0.2}, "seed": 5}
    assert (
        run_name(result, {"model": {"name": "plain20", "depth": 20}, "recipe": {"lr": 0.1}, "seed": 0})
        == "plain20+lr0.2"
    )


def test_differences_are_named_by_their_dotted_keys() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
    assert differing({"a": {"b": 1}}, {"a": {"b": 2}, "c": 3}) == ["a.b", "c"]


def test_an_override_of_the_iterations_moves_nothing_else() -> None:
    assert compose("recipe.iterations=100").recipe.drops == [32_000, 48_000]


@pytest.mark.parametrize("group", ["model", "data", "recipe", "experiment"])
def test_every_preset_opens_with_what_it_is_and_bears_its_file_s_name(group: str) -> None:
    presets = sorted((conf_dir() / group).glob("*.yaml"))
    assert presets
    for path in presets:
        lines = path.read_text().splitlines()
        assert any(line.startswith("# ") and len(line) > 30 for line in lines[:2]), path
        if group != "experiment":
            assert yaml.safe_load(path.read_text())["name"] == path.stem


def test_short_recipes_differ_from_the_paper_s_in_length_alone() -> None:
    paper, short = compose().recipe, compose("recipe=short8").recipe
    changed = {key for key, value in vars(paper).items() if value != getattr(short, key)}
    assert changed == {"name", "iterations", "drops"}
    assert [drop * 8 for drop in short.drops] == paper.drops


@given(st.integers(8, 9_000))
def test_depths_are_6n_plus_2_and_the_neighbours_of_others_are_named(depth: int) -> None:
    if depth % 6 == 2:
        assert ModelConfig("x", depth, True, "A", 1, "batch").depth == depth
        return
    with pytest.raises(UserError, match=rf"^model\.depth={depth}: a depth is 6n \+ 2") as error:
        ModelConfig("x", depth, True, "A", 1, "batch")
    below, above = (int(number) for number in re.findall(r"\d+", str(error.value).split("nearest are")[1]))
    assert below < depth < above == below + 6
    assert below % 6 == 2


BOUNDS = {
    "model.depth": (8, 9_998, 10_000),
    "model.width": (1, 64, 64),
    "data.image_size": (8, 1024, 1024),
    "data.train_images": (10, 10**7, 10**7),
    "data.test_images": (10, 10**7, 10**7),
    "recipe.iterations": (1, 10**9, 10**9),
    "recipe.batch_size": (1, 10**9, 10**9),
    "recipe.evaluate_every": (100, 10**9, 10**9),
    "recipe.pad": (0, 1024, 1024),
    "threads": (0, 4096, 4096),
}
"""Setting -> the least value that it can have, the greatest, and the greatest that its rule names."""


@pytest.mark.parametrize("setting", BOUNDS)
def test_numbers_have_bounds_that_they_may_reach_and_that_the_refusal_names(setting: str) -> None:
    least, greatest, bound = BOUNDS[setting]
    for value in (least, greatest):
        assert flatten(asdict(compose("data=shapes", f"{setting}={value}")))[setting] == value
    with pytest.raises(UserError, match=rf"^{setting}={bound + 1}: must be {bound:,} or less$"):
        compose("data=shapes", f"{setting}={bound + 1}")
    with pytest.raises(UserError, match=rf"^{setting}={-1}: must be \d+ or more$"):
        compose("data=shapes", f"{setting}=-1")


@pytest.mark.parametrize("given", ["", "data.dir=null", "data.dir='~nobody-of-this-name/pets'"])
def test_a_folder_of_images_that_is_not_given_or_not_there_is_refused_with_the_remedy(given: str) -> None:
    with pytest.raises(UserError, match=r"^data\.dir=.*: .*data\.dir=PATH$"):
        compose("data=folder", *[given] * bool(given))


def test_a_recorded_configuration_is_read_back_whole() -> None:
    config = compose("model=plain32", "data.dir=/somewhere", "recipe.drops=[3]", "seed=2", "device=cpu")
    again = recorded(config.result(), config.execution())
    assert again.result() == config.result()
    assert again.execution() == config.execution()
    assert isinstance(again.recipe, RecipeConfig)


def test_a_recorded_folder_of_images_is_the_same_once_a_link_stands_in_its_place(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    config = compose("data=folder", f"data.dir={images}")
    images.rename(tmp_path / "elsewhere")
    images.symlink_to(tmp_path / "elsewhere")
    content = config.content()
    assert recorded(content["result"], content["execution"]).result() == config.result()


def test_a_preset_that_was_edited_names_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(conf_dir(), tmp_path / "conf")
    monkeypatch.setattr("resexp.config.compose.conf_dir", lambda: tmp_path / "conf")
    mine = tmp_path / "conf/recipe/mine.yaml"
    for rate in ("0.05", "0.02"):
        mine.write_text(f"defaults: [quick]\nname: mine\nlr: {rate}\n")
        config = compose("recipe=mine", "data=shapes")
        assert (config.recipe.lr, config.labels["recipe"]) == (float(rate), "mine")


@pytest.mark.parametrize(
    ("own", "changed", "name"),
    [("skip: 1", "model.skip=2", "mine+skip2"), ("linear: he", "model.linear=default", "mine+lineardefault")],
)
def test_what_a_preset_of_ones_own_sets_unusually_can_be_set_back(
    here: Here, tmp_path: Path, own: str, changed: str, name: str
) -> None:
    mine = tmp_path / "own" / "model" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text(f"name: mine\ndepth: 20\nresidual: true\n{own}\n")
    for words, expected in (((), "mine"), ((changed,), name)):
        assert f"/{expected}/seed0 " in here("train", "--config-dir", "own", "model=mine", "plan=true", *words)


def test_folders_on_hydras_search_path_are_searched(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name in (("own", "wide20"), ("pack/age/presets", "wider20")):
        preset = tmp_path / place / "model" / f"{name}.yaml"
        preset.parent.mkdir(parents=True)
        preset.write_text(f"defaults: [resnet20]\nname: {name}\nwidth: 2\n")
    monkeypatch.syspath_prepend(tmp_path / "pack")
    search = "hydra.searchpath=[own,pkg://age.presets]"
    small = ("data=shapes", "data.train_images=20", "data.test_images=10", "recipe.iterations=1", "recipe.batch_size=4")
    here("train", "-m", search, "model=wide20,wider20,resnet20", "model.depth=8", *small, "device=cpu")
    names = sorted(path.parents[1].name.partition("+")[0] for path in tmp_path.rglob("run.json"))
    assert names == ["resnet20", "wide20", "wider20"]
    assert [line.split()[0] for line in here("models", search).splitlines() if "1,073,962" in line] == [
        "wide20",
        "wider20",
    ]
    assert "resnet1202, wide20, wider20" in here("train", "--help", search)
    assert compose(search, "model=wide20").model.width == 2
    with pytest.raises(UserError, match=r"^model=null: no such choice; choose .*, wide20, wider20, or"):
        here("train", search, "model=null")
    (tmp_path / "own/model/plain20.yaml").write_text("")
    with pytest.raises(UserError, match=r"^hydra\.searchpath=own: resexp has a model/plain20\.yaml itself"):
        here("train", search)


def test_a_network_of_ones_own_that_builds_on_another_is_listed(here: Here, tmp_path: Path) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "wide20.yaml").write_text("defaults: [resnet20]\nname: wide20\nwidth: 2\n")
    (line,) = [line for line in here("models", "--config-dir", "own").splitlines() if line.startswith("wide20")]
    assert line.split()[1:3] == ["20", "1,073,962"]


def test_a_recorded_configuration_of_another_version_is_refused() -> None:
    config = compose()
    result = config.result()
    result["recipe"]["unheard_of"] = 1
    with pytest.raises(UserError, match="does not fit this version"):
        recorded(result, config.execution())


def test_a_person_s_own_presets_are_found_and_named(here: Here, tmp_path: Path) -> None:
    mine = tmp_path / "conf" / "model" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("name: mine\ndepth: 8\nresidual: true\n")
    assert "model=NAME: mine, plain20, plain32" in here("train", "--help", "--config-dir", "conf")
    for nothing in ("null", "yours"):
        with pytest.raises(UserError, match=rf"^model={nothing}: no such choice; choose mine, plain"):
            here("train", "--config-dir=conf", f"model={nothing}")
    small = ("data=shapes", "data.train_images=20", "data.test_images=10", "recipe.iterations=1", "recipe.batch_size=4")
    here("train", "--config-dir", "conf", "model=mine", "model.width=2", *small, "device=cpu")
    (found,) = tmp_path.rglob("run.json")
    assert found.parents[1].name.startswith("mine+")
    assert "depth" not in found.parents[1].name
    for hidden in ("model/plain20.yaml", "train.yaml"):
        one_of_ours = mine.rename(tmp_path / "conf" / hidden)
        for words in (("--help",), ("model=plain20",)):
            with pytest.raises(UserError, match=rf"^--config-dir=conf: resexp has a {hidden} itself; rename yours$"):
                here("train", "--config-dir=conf", *words)
        one_of_ours.rename(mine)

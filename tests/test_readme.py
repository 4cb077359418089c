"""Every command of README and docs/ is run, made small where it would take hours."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY, Here

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))}


def blocks(language: str) -> list[str]:
    return [block for text in DOCS.values() for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


def commands() -> list[str]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.partition("#")[0].split("&&")]
    return sorted({part for part in parts if part})


def test_readme_names_the_commands_that_a_user_needs() -> None:
    assert {"scripts/quickstart", "scripts/test", "tensorboard --logdir runs"} <= set(commands())
    assert {"resexp train", "resexp report", "resexp models"} <= {" ".join(one.split()[:2]) for one in commands()}


@pytest.mark.parametrize("command", [one for one in commands() if one.startswith("scripts/")])
def test_a_script_is_there_and_is_sound(command: str) -> None:
    script = ROOT / command.split()[0]
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize("command", [one for one in commands() if one.startswith("resexp train")])
def test_a_training_command_trains(here: Here, tmp_path: Path, command: str) -> None:
    for block in blocks("yaml"):  # the first line names the file
        path = tmp_path / block.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    settings, option, value = command.replace("seed=0,1,2", "seed=0").partition(" --cfg ")
    tiny = [*(one for one in TINY if not one.startswith("recipe.drops")), "recipe.iterations=2", "recipe.drops=[]"]
    if option:
        assert "model:" in here(*shlex.split(settings)[1:], *tiny, "--cfg", value)
    else:
        here(*shlex.split(settings)[1:], *tiny)
        assert bool(list(tmp_path.rglob("history.csv"))) != ("plan=true" in command)


@pytest.fixture
def trained(here: Here, tmp_path: Path) -> Path:
    """A run that was trained in the folder that `here` works in, beside one with another rate."""
    here("train", *TINY, "model=resnet56", "checkpoint_seconds=0")
    (record,) = tmp_path.rglob("run.json")
    here("train", *TINY, "model=resnet56", "recipe.lr=0.05")
    return record.parent


def test_the_files_are_those_that_readme_lists_and_the_other_commands_work_on_them(
    here: Here, tmp_path: Path, trained: Path
) -> None:
    for path in trained.iterdir():
        name = re.sub(r"tfevents.*", "tfevents...", path.name)
        assert f"`{name}`" in DOCS[ROOT / "docs" / "runs.md"] or name == ".lock"
    for command in commands():
        if command.startswith("resexp") and not command.startswith("resexp train"):
            small = (
                ["initial_seeds=[0]", "batch_size=4", "images_without_norm=1", "threads=1"]
                if command.startswith("resexp diagnose")
                else []
            )
            assert here(*shlex.split(command.replace("runs/cifar10/paper/resnet56/seed0", str(trained)))[1:], *small)
    assert (tmp_path / "report" / "index.html").exists()


@pytest.mark.usefixtures("trained")
def test_tensorboard_finds_the_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tensorboard.main", "--inspect", "--logdir", "runs", "--tag", "error/train"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert re.search(r"num_steps\s+6", done.stdout), done.stdout


def test_the_python_example_works(tmp_path: Path) -> None:
    (example,) = blocks("python")
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    small = example.replace('"recipe.iterations=80", "recipe.drops=[40,60]"', '"recipe.iterations=4", "model.depth=8"')
    assert small != example
    done = subprocess.run([sys.executable, "-c", small], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("runs/shapes/quick/resnet20+")


def test_the_first_screen_says_what_results_say() -> None:
    """Beside its figure, table.md has the same table; results/README.md has the same verdict."""
    screen, _, _ = README.partition("```")
    (figures,) = re.findall(r"\]\((results/figures/\S+)/figure6\.png\)", screen)
    measured = table((ROOT / figures / "table.md").read_text(encoding="utf-8"))
    shown = table(screen)
    assert shown.keys() == measured.keys()
    for network, cells in shown.items():
        assert {name: cell for name, cell in cells.items() if not name.startswith("paper")}.items() <= measured[
            network
        ].items()
    _, claims, *_ = (ROOT / "results" / "README.md").read_text(encoding="utf-8").split("\n## ")
    data, recipe = Path(figures).parts[-2:]
    (verdict,) = [part.splitlines()[2] for part in claims.split("\n### ") if f"data={data} recipe={recipe}" in part]
    assert " ".join(verdict.split()) in " ".join(screen.split())


def test_each_section_of_results_shows_something_and_names_files_that_are_there() -> None:
    _, claims, *_ = (ROOT / "results" / "README.md").read_text(encoding="utf-8").split("\n## ")
    for section in claims.split("\n### ")[1:]:
        assert "\n| " in section, section
        (place,) = re.findall(r"`(figures/\S+/)`", section)
        assert (ROOT / "results" / place).is_dir()


def table(text: str) -> dict[str, dict[str, str]]:
    """The rows of the only table of a Markdown text by their first cell: the cells by column."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    columns, _, *rows = rows
    return {row[0]: dict(zip(columns, row, strict=True)) for row in rows}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_what_a_page_links_to_is_there(path: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", DOCS[path])
    for link in links:
        assert (path.parent / link).exists(), link
    assert links or path.name != "README.md"

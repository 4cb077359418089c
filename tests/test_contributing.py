"""CONTRIBUTING's map leads to places that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PLACES = re.findall(r"`([\w.]+)` in \[(.*?)\]\((.*?)\)", TEXT)


def test_every_folder_has_its_line() -> None:
    folders = {path.parent.name for path in ROOT.glob("resexp/*/__init__.py")}
    assert set(re.findall(r"^\| `resexp/(\w+)/` \|", TEXT, re.M)) == folders


def test_the_map_leads_to_places() -> None:
    assert len(PLACES) == 15


@pytest.mark.parametrize(("name", "shown", "path"), PLACES)
def test_each_place_is_where_the_map_says(name: str, shown: str, path: str) -> None:
    assert shown == path
    node: ast.AST = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    for part in name.split("."):
        named = {
            child.name: child
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.ClassDef | ast.FunctionDef)
        }
        assert part in named, f"{path} has no {name}"
        node = named[part]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:resexp|conf|tests|scripts)/[\w/.]*)`", TEXT))))
def test_each_path_exists(path: str) -> None:
    assert (ROOT / path).exists()

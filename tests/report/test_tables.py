"""The numbers as CSV and Markdown."""

import csv
from pathlib import Path

import pytest
from synthetic import Synthetic, only_group

from resexp.report import tables
from resexp.storage.run import FAILED


def cells(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_final_csv_holds_each_seed_then_mean_and_deviation(short: Synthetic) -> None:
    short.add("plain20", 0, 0.10, 0.20, noise=0)
    short.add("plain20", 1, 0.14, 0.21, noise=0)
    short.add("plain56", 0, 0.3, 0.3, noise=0)
    short.add("plain56", 1, state=FAILED)
    rows = cells(tables.final_csv(only_group(short.runs)))
    assert [(row["network"], row["seed"]) for row in rows] == [
        ("plain20", "0"),
        ("plain20", "1"),
        ("plain20", "mean"),
        ("plain20", "std"),
        ("plain56", "0"),
        ("plain56", "mean"),
    ]
    assert [float(row["running_error"]) for row in rows] == pytest.approx([0.1, 0.14, 0.12, 0.028284271, 0.3, 0.3])
    assert [float(row["test_error"]) for row in rows[:3]] == pytest.approx([0.20, 0.21, 0.205])
    assert float(rows[2]["clean_train_error"]) == pytest.approx(0.9 * 0.12)
    assert (rows[0]["parameters"], rows[0]["seconds"], rows[0]["device"]) == ("269722", "600", "NVIDIA H200, bf16")


def test_curves_csv_holds_every_row_of_every_finished_run(short: Synthetic) -> None:
    short.add("plain20", 3, 0.10, 0.20, noise=0)
    short.add("plain56", state=FAILED)
    rows = cells(tables.curves_csv(only_group(short.runs)))
    assert len(rows) == 20
    last = rows[-1]
    assert (last["network"], last["seed"], last["iteration"]) == ("plain20", "3", "2000")
    assert float(last["train_error"]) == pytest.approx(0.1)
    assert float(last["test_error"]) == pytest.approx(0.2)
    assert rows[0]["test_error"] == ""


def test_the_paper_stands_beside_its_own_recipe(runs: Path) -> None:
    papers = Synthetic(runs, "cifar10", "paper", {"recipe.row_every": 4000, "recipe.evaluate_every": 4000})
    papers.add("plain110", 0, 0.7, 0.7, noise=0)
    papers.add("resnet56", 0, 0.001, 0.070, noise=0)
    papers.add("resnet56", 1, 0.002, 0.072, noise=0)
    Synthetic(runs / "b", "cifar10", "paper", papers.changes | {"model.shortcut": "B"}).add(
        "resnet20", 0, 0.01, noise=0
    )
    lines = tables.markdown(only_group(runs)).splitlines()
    assert lines[0] == "### CIFAR-10; the paper's recipe (64,000 iterations) on NVIDIA H200 in bf16"
    assert (
        "| paper's test error, % | test error, % | paper's training error, % | running training error, % |" in lines[2]
    )
    assert (
        lines[4]
        == "| plain-110 | 1 | - | 70.00 | above 60 | 70.00 | 63.00 | never | 1,727,962 | 55.0 | NVIDIA H200, bf16 |"
    )
    assert lines[5].startswith("| ResNet-20+shortcutB | 1 | - |")
    assert lines[6].startswith(
        "| ResNet-56 | 2 | 6.97 | 7.10 ± 0.14 | 0.1 (digitised) | 0.15 ± 0.07 | 0.14 ± 0.06 | 4,000 | 853,018 | 28.0 |"
    )


@pytest.mark.parametrize(
    ("data", "recipe", "changes", "reason"),
    [
        ("cifar10", "short32", {}, "recipe short32, a shortened schedule (2,000 iterations)"),
        ("cifar10", "short32", {"recipe.name": "paper"}, "recipe paper"),
        (
            "shapes",
            "paper",
            {"recipe.row_every": 4000, "recipe.evaluate_every": 4000},
            "embedded data set shapes, not CIFAR-10.",
        ),
    ],
)
def test_nothing_of_the_paper_stands_beside_anything_else(
    runs: Path, data: str, recipe: str, changes: dict[str, object], reason: str
) -> None:
    Synthetic(runs, data, recipe, changes).add("resnet56", 0, 0.01, 0.08)
    text = tables.markdown(only_group(runs))
    assert "6.97" not in text
    assert "paper's test error" not in text
    assert f"Not compared with the paper's numbers: {reason}" in text


def test_parameters_of_other_numbers_of_classes(short: Synthetic) -> None:
    short.add("plain20", data={"name": "cifar10", "classes": 100})
    assert tables.count_parameters(only_group(short.runs).networks[0]) == 269_722 + 65 * 90


def test_unmeasured_is_a_hyphen(short: Synthetic) -> None:
    short.add("plain20", sessions=[])
    line = tables.markdown(only_group(short.runs)).splitlines()[4]
    assert line.endswith("| - | - |")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/runs/cifar10/a/history.csv: line 3", "cifar10/a/history.csv: line 3"),
        ("cannot open '/home/me/secret/x.bin'", "cannot open '.../x.bin'"),
        ("1/2 of it, and/or more, 50 images/s", "1/2 of it, and/or more, 50 images/s"),
        ("/home/me/pets", ".../pets"),
        ("file:///home/me/pets", "file:.../pets"),
        ("a // b, file:// too", "a // b, file:// too"),
    ],
)
def test_no_path_of_this_machine(text: str, expected: str) -> None:
    assert tables.without_paths(text, Path("/data/runs")) == expected

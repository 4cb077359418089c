"""The published numbers (He et al., arXiv 1512.03385, section 4.2) with their source. Errors are fractions."""

from dataclasses import dataclass
from typing import Any

from resexp.config.settings import USUAL

TABLE_6 = "table 6"
FIGURE_6 = "figure 6"


@dataclass(frozen=True)
class Published:
    """One published error. `digitised`: measured from the pixels of the figure. `bound`: "", "above" or "below"."""

    error: float
    source: str
    digitised: bool = False
    bound: str = ""
    note: str = ""

    @property
    def percent(self) -> float:
        """The error as the paper prints it."""
        return 100 * self.error

    def __str__(self) -> str:
        shown = f"{self.percent:g}" if self.digitised or self.bound else f"{self.percent:.2f}"
        return f"{self.bound} {shown}".strip() + (" (digitised)" if self.digitised and not self.bound else "")


_FIGURE_6: dict[str, tuple[float | None, ...]] = {
    "plain20": (9.65, 1.3, 12.6, 9.9),
    "plain32": (10.1, 1.3, 14.3, 11.3),
    "plain44": (11.3, 2.6, 16.1, 14.6),
    "plain56": (13.3, 5.6, 18.1, 16.9),
    "resnet20": (8.85, 0.55, 11.6, 7.7),
    "resnet32": (7.5, 0.23, 10.2, 6.1),
    "resnet44": (7.15, 0.17, 10.8, 5.8),
    "resnet56": (7.0, 0.1, 10.1, 4.5),
    "resnet110": (6.5, 0.1, None, None),
}
"""Percent, measured from pixels: test and training error over iterations 60,000 to 64,000, both again at 30,000."""


def _digitised(column: int) -> dict[str, Published]:
    percent = {name: row[column] for name, row in _FIGURE_6.items()}
    return {
        name: Published(round(value / 100, 6), FIGURE_6, digitised=True)
        for name, value in percent.items()
        if value is not None
    }


FIGURE_TEST_ERROR = _digitised(0)
"""Test error, mean of iterations 60,000 to 64,000; within 0.1 points."""

TEST_ERROR = {name: value for name, value in FIGURE_TEST_ERROR.items() if name.startswith("plain")} | {
    "resnet20": Published(0.0875, TABLE_6),
    "resnet32": Published(0.0751, TABLE_6),
    "resnet44": Published(0.0717, TABLE_6),
    "resnet56": Published(0.0697, TABLE_6),
    "resnet110": Published(0.0643, TABLE_6, note="the best of five, whose mean is 6.61 ± 0.16"),
    "resnet1202": Published(0.0793, TABLE_6),
}
"""Test error: residual networks as printed, plain ones (never printed) as drawn. plain-110 has none."""

TRAIN_ERROR = _digitised(1) | {
    "plain110": Published(0.6, FIGURE_6, bound="above", note="caption: higher than 60% and not drawn"),
    "resnet1202": Published(0.001, "section 4.2", bound="below"),
}
"""Running training error, mean of iterations 60,000 to 64,000; within 0.3 points where digitised."""

TEST_ERROR_30K, TRAIN_ERROR_30K = _digitised(2), _digitised(3)
"""Test error and running training error at iteration 30,000, before the first drop of the learning rate."""

REPRODUCED = {
    "plain20": (0.0888, 0.0978),
    "plain32": (0.1004, 0.1041),
    "plain44": (0.1156, 0.1173),
    "plain56": (0.1183, 0.1307),
    "resnet20": (0.080, 0.089),
    "resnet32": (0.073, 0.080),
    "resnet44": (0.069, 0.076),
    "resnet56": (0.068, 0.076),
    "resnet110": (0.063, 0.070),
}
"""Lowest and highest test error of public reproductions, one to five seeds each."""

REPRODUCED_TRAIN = {
    "plain20": (0.0112, 0.0152),
    "plain32": (0.0154, 0.0154),
    "plain44": (0.0279, 0.0279),
    "plain56": (0.0373, 0.0436),
}
"""Lowest and highest final mini-batch training error of public reproductions; those of a clean pass are left out."""

READING = {"training": 0.003, "test": 0.001}
"""How far a digitised error may lie from the drawn one."""

SEED_SPREAD = (0.003, 0.05)
"""Standard deviation over seeds: at least 0.3 points, and 5% of the error. Reported ones lie between 2% and 10%."""

RECIPE: dict[str, Any] = {
    "iterations": 64_000,
    "batch_size": 128,
    "lr": 0.1,
    "drops": [32_000, 48_000],
    "drop_factor": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "warmup": "auto",
    "warmup_lr": 0.01,
    "warmup_error": 0.8,
    "pad": 4,
    "flip": True,
}
"""Section 4.2. How often a network is evaluated is not part of it."""

HELD_OUT = (0, 5_000)
"""Training images held out: sources disagree whether the paper's final runs used 50,000 or 45,000 images."""


def is_papers_recipe(recipe: dict[str, Any]) -> bool:
    """Whether a recipe's settings, whatever its name, are those of section 4.2."""
    return all(recipe.get(key) == value for key, value in RECIPE.items())


def other_settings(recipe: dict[str, Any]) -> list[str]:
    """The settings, in order, in which a recipe differs from section 4.2, its length aside.

    Drops of the learning rate are the same where they come after the same fractions of the iterations.
    """
    ours, papers = (one | {"drops": [drop / one["iterations"] for drop in one["drops"]]} for one in (recipe, RECIPE))
    return [key for key in RECIPE if key != "iterations" and ours.get(key) != papers[key]]


def is_papers_data(data: dict[str, Any]) -> bool:
    """Whether a data set is CIFAR-10, whole or with the paper's 5,000 images held out."""
    return data.get("name") == "cifar10" and data.get("validation", 0) in HELD_OUT


def network_name(model: dict[str, Any]) -> str | None:
    """The paper's network that a model's settings describe, such as "resnet56"; None for any other."""
    same = (model.get("width"), model.get("norm")) == (1, "batch")
    same = same and all(model.get(name, usual) == usual for name, usual in USUAL.items())
    residual = model.get("residual")
    if not same or (residual and model.get("shortcut") != "A"):
        return None
    name = f"{'resnet' if residual else 'plain'}{model.get('depth')}"
    return name if name in TEST_ERROR or name in TRAIN_ERROR else None


def band(kind: str, published: Published, reproduced: tuple[float, float] | None) -> tuple[float, float]:
    """Where a run's "training" or "test" error is expected: from the lowest to the highest of the published value and
    its reproductions, on both sides widened by the accuracy of reading and two standard deviations over seeds.
    """
    least, relative = SEED_SPREAD
    reading = READING[kind] if published.digitised else 0.0
    errors = (published.error, *(reproduced or ()))
    low, high = min(errors), max(errors)
    low -= reading + 2 * max(least, relative * low)
    high += reading + 2 * max(least, relative * high)
    return (
        0.0 if published.bound == "below" else max(0.0, low),
        1.0 if published.bound == "above" else min(1.0, high),
    )

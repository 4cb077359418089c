"""`resexp models`: the networks in conf/model, without torch."""

from dataclasses import replace
from typing import Any

from resexp.analysis.paper import TEST_ERROR
from resexp.config.presets import content_of, presets
from resexp.config.settings import ModelConfig
from resexp.formatting import ABSENT
from resexp.model.cost import multiply_adds, parameters


def task() -> None:
    """Print a table of the networks."""
    print(
        f"{'model':<12}{'layers':>7}{'parameters':>13}{'with B':>12}{'with C':>12}{'multiply-adds':>16}"
        f"{'paper, test error':>20}"
    )
    for path in presets("model"):
        settings: dict[str, Any] = {"shortcut": "A", "width": 1, "norm": "batch"} | content_of(path)
        model = ModelConfig(**settings)
        published = TEST_ERROR.get(model.name)
        shown = f"{published.percent:.2f}%" if published else "-"
        mark = "*" if published and published.digitised else ""
        macs = f"{multiply_adds(model) / 1e6:,.1f} M"
        projected = "".join(
            f"{f'{parameters(replace(model, shortcut=option)):,}' if model.residual else ABSENT:>12}" for option in "BC"
        )
        print(f"{model.name:<12}{model.depth:>7}{parameters(model):>13,}{projected}{macs:>16}{shown:>20}{mark}")
    print("with B, C: parameters where projections are shortcuts of 2 blocks, or of all (model.shortcut=B or C)")
    print("* never printed: measured from figure 6, within 0.1 points")
    for name, published in TEST_ERROR.items():
        if published.note:
            print(f"{name}: {published.note}")

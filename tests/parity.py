"""The first losses of small networks: what `test_parity` compares and `scripts/golden` writes."""

from functools import cache
from pathlib import Path

from resexp.config.compose import compose
from resexp.data.load import load
from resexp.training.device import prepare
from resexp.training.engine import ENGINES
from resexp.training.trainer import Trainer

GOLDEN = Path(__file__).parent / "golden"
NETWORKS = ("plain20", "resnet20")
"""Shallow, and trained slowly, so that another processor's rounding does not grow beyond the bound of a change."""
ITERATIONS = 50
SETTINGS = (
    "data=shapes",
    "data.train_images=512",
    "data.test_images=10",
    "data.image_size=8",
    "recipe=quick",
    "recipe.pad=1",
    "recipe.drops=[40]",
    "model.depth=8",
    "recipe.lr=0.0005",
    "device=cpu",
    "threads=1",
)


@cache
def losses(network: str, *overrides: str, engine: str = "eager") -> tuple[float, ...]:
    """Loss of each of the first iterations, over a drop of the rate after 40."""
    config = compose(*SETTINGS, f"model={network}", *overrides)
    execution = prepare(config)
    sums: list[float] = []
    with execution.own_stream():
        trainer = Trainer(config, load(config.data), execution)
        assert str(trainer.start_engine(ENGINES[engine])) == engine
        for _ in range(ITERATIONS):
            trainer.advance()
            sums.append(float(trainer.loss_sum))
            trainer.loss_sum.zero_()
    return tuple(sums)


def golden_file(network: str) -> Path:
    """Where the committed losses of a network stand."""
    return GOLDEN / f"{network}.txt"

"""The first losses of small networks: what `test_parity` compares and `scripts/golden` writes."""

from pathlib import Path

from resexp.config.compose import compose
from resexp.data.load import load
from resexp.training.device import prepare
from resexp.training.engine import ENGINES
from resexp.training.trainer import Trainer

GOLDEN = Path(__file__).parent / "golden"
# Shallow and slow, so that the rounding of another processor does not grow beyond the bound that a change may not pass.
NETWORKS = ("plain20", "resnet20")
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


def losses(network: str, *overrides: str, engine: str = "eager") -> list[float]:
    """Loss of each of the first iterations, over a drop of the rate after 40."""
    config = compose(*SETTINGS, f"model={network}", *overrides)
    trainer = Trainer(config, load(config.data), prepare(config))
    assert str(trainer.start_engine(ENGINES[engine])) == engine
    found: list[float] = []
    for _ in range(ITERATIONS):
        trainer.advance()
        found.append(float(trainer.loss_sum))
        trainer.loss_sum.zero_()
    return found


def golden_file(network: str) -> Path:
    """Where the committed losses of a network stand."""
    return GOLDEN / f"{network}.txt"

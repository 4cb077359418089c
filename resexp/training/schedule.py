"""The learning rate: a function of the iteration and, for the warm-up, of the training error so far."""

from dataclasses import dataclass

from resexp.config.settings import ModelConfig, RecipeConfig

WARMUP_DEPTH = 110
"""With warmup=auto, residual networks of this depth and more warm up (section 4.2)."""


def warms_up(recipe: RecipeConfig, model: ModelConfig) -> bool:
    """Whether a network starts at the smaller rate."""
    return recipe.warmup == "always" or (recipe.warmup == "auto" and model.residual and model.depth >= WARMUP_DEPTH)


@dataclass
class Schedule:
    """The rate of each iteration. The warm-up shifts nothing: the drops stay at their iterations."""

    recipe: RecipeConfig
    warming_up: bool

    def rate(self, iteration: int) -> float:
        """Learning rate of an iteration, counted from 1: the first drop at 32,000 shows in iteration 32,001."""
        dropped = sum(iteration > drop for drop in self.recipe.drops)
        rate = self.recipe.lr * self.recipe.drop_factor**dropped
        return min(self.recipe.warmup_lr, rate) if self.warming_up else rate

    def row_done(self, train_error: float) -> None:
        """Take note of a row's running training error: the warm-up ends when it is small enough."""
        self.warming_up = self.warming_up and train_error >= self.recipe.warmup_error

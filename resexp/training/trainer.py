"""One run between two iterations: what it has learned, what it has counted, and what it needs to continue."""

import copy
import math
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from resexp.config.settings import Config
from resexp.data.batches import Images, Sampler, mean_image
from resexp.data.dataset import Dataset
from resexp.errors import UserError
from resexp.model.network import blocks_of, build
from resexp.storage import checkpoint, history
from resexp.training.device import Execution
from resexp.training.engine import Engine, Iterate
from resexp.training.evaluate import evaluate
from resexp.training.schedule import Schedule, warms_up
from resexp.training.step import Step

Measured = tuple[float, float]
"""Mean loss and error (a fraction)."""


class Trainer:
    """Network, optimizer, learning rate, the sums of the row in progress, and the rows so far."""

    def __init__(self, config: Config, data: Dataset, execution: Execution) -> None:
        recipe, device = config.recipe, execution.device
        if recipe.batch_size > len(data.train):
            size = f"recipe.batch_size={recipe.batch_size}"
            raise UserError(f"{size}: larger than the training set of {len(data.train)} images")
        self.config, self.recipe, self.execution = config, recipe, execution
        with ThreadPoolExecutor(1) as thread:  # the digest and the copies take a core each
            digest = thread.submit(lambda: data.digest)
            mean = mean_image(data.train)
            self.train_images = Images.of(data.train, mean, recipe.pad, device)
            self.test_images = Images.of(data.test, mean, 0, device)
        self.digest = digest.result()
        self.sampler = Sampler(config.seed, len(data.train), recipe.batch_size, recipe.pad, recipe.flip, device)
        self.network = build(config.model, config.seed, len(data.classes), device)
        self.step = Step(self.network, recipe, execution)
        self.schedule = Schedule(recipe, warms_up(recipe, config.model))
        self.iteration = 0
        self.rows: list[history.Row] = []
        self.gradient_norms: dict[int, tuple[float, float]] = {}
        """Of first and last block in a row's last mini-batch, by its iteration."""
        self.loss_sum = torch.zeros((), device=device)
        self.wrong_sum = torch.zeros((), dtype=torch.int64, device=device)
        self.iterate: Iterate = self.eager

    def eager(self, picks: Tensor, rate: float) -> None:
        """One iteration on the sampler's picks (B, 4): gather, train, count. Nothing in it waits for the device."""
        images, labels = self.train_images(picks)
        loss, wrong = self.step(images, labels, rate)
        self.loss_sum += loss
        self.wrong_sum += wrong

    def advance(self) -> None:
        """Go on by one iteration."""
        self.iteration += 1
        self.iterate(self.sampler.batch(self.iteration), self.schedule.rate(self.iteration))

    def start_engine(self, engine: Engine) -> Engine:
        """Let an engine execute the iterations; the one that does. Its trial iterations leave no trace.

        Raises BrokenProcess where an iteration cannot be captured.
        """
        if engine == Engine():
            return engine
        before = copy.deepcopy(self.state())
        picks, rate = self.sampler.batch(self.iteration + 1), self.schedule.rate(self.iteration + 1)
        deterministic = self.config.deterministic
        network = self.network
        parts = [self.train_images, network.stem, *blocks_of(network).values(), network.head, self.step.objective]
        engine, self.iterate = engine.prepare(self.eager, parts, deterministic, picks, rate)
        self.load_state(before)
        return engine

    @property
    def finished(self) -> bool:
        """Whether all iterations are done."""
        return self.iteration == self.recipe.iterations

    def row_due(self) -> bool:
        """Rows end every `row_every` iterations, before a drop of the rate, and with the run."""
        return self.iteration % self.recipe.row_every == 0 or self.clean_due()

    def test_due(self) -> bool:
        """The test error is measured every `evaluate_every` iterations and at the end."""
        return self.iteration % self.recipe.evaluate_every == 0 or self.finished

    def clean_due(self) -> bool:
        """The clean training error is measured before each drop of the rate and at the end."""
        return self.iteration in self.recipe.drops or self.finished

    def check_finite(self, *measured: Measured | None) -> None:
        """Wait for the device. Raises UserError if a loss of the row in progress, or one measured, was not finite."""
        losses = [float(self.loss_sum), *(one[0] for one in measured if one)]
        if not all(map(math.isfinite, losses)):
            rate, last = self.schedule.rate(self.iteration), self.iteration
            first = self.rows[-1].iteration + 1 if self.rows else 1
            when = f"at iteration {last}" if first == last else f"within iterations {first} to {last}"
            raise UserError(f"the loss is not finite {when}; use recipe.lr below {rate:g}")

    def test(self) -> Measured:
        """Loss and error on the test set."""
        return evaluate(self.network, self.test_images, self.execution)

    def clean(self) -> Measured:
        """Loss and error on the whole training set as it is, in evaluation mode."""
        return evaluate(self.network, self.train_images, self.execution)

    def measure_gradients(self) -> tuple[float, float]:
        """Norms of the loss's gradient for the weights of the first and of the last block, in the last mini-batch."""
        blocks = [*blocks_of(self.network).values()]
        ends = ([one.grad for one in block.parameters() if one.grad is not None] for block in (blocks[0], blocks[-1]))
        first, last = torch.stack([nn.utils.get_total_norm(own) for own in ends]).tolist()
        return first, last

    def close_row(self, test: Measured | None, clean: Measured | None) -> history.Row:
        """The row in progress, with what else was measured at its end; the next one begins."""
        at, recipe = self.iteration, self.recipe
        count = at - (self.rows[-1].iteration if self.rows else 0)
        row = history.Row(
            at,
            at * recipe.batch_size / len(self.train_images),
            self.schedule.rate(at),
            float(self.loss_sum) / count,
            int(self.wrong_sum) / (count * recipe.batch_size),
            *(test or (None, None)),
            *(clean or (None, None)),
        )
        self.rows.append(history.as_written(row))
        self.gradient_norms[at] = self.measure_gradients()
        self.schedule.row_done(self.rows[-1].train_error)
        self.loss_sum.zero_()
        self.wrong_sum.zero_()
        return self.rows[-1]

    def state(self) -> checkpoint.State:
        """Everything that going on needs, in plain containers."""
        return {
            "result": self.config.result(),
            "images": self.digest,
            "iteration": self.iteration,
            "rows": history.write(self.rows),
            "gradient_norms": dict(self.gradient_norms),
            "loss_sum": self.loss_sum,
            "wrong_sum": self.wrong_sum,
            "warming_up": self.schedule.warming_up,
            **self.step.state(),
        }

    def snapshot(self) -> checkpoint.State:
        """What a diagnosis needs of the network as it is now; `rows` tell to which curve it belongs."""
        whole = self.state()
        return {name: whole[name] for name in ("result", "iteration", "rows", "network")}

    def load_state(self, state: checkpoint.State) -> None:
        """Go on from what `state` gave."""
        self.iteration = state["iteration"]
        self.rows = history.parse(state["rows"], "checkpoint")
        self.gradient_norms = dict(state.get("gradient_norms", {}))
        self.loss_sum.copy_(state["loss_sum"])
        self.wrong_sum.copy_(state["wrong_sum"])
        self.schedule.warming_up = state["warming_up"]
        self.step.load_state(state)

"""One run between two iterations: what it has learned, what it has counted, and what it needs to go on."""

import copy
import logging
import math

import torch
from torch import Tensor

from resexp.config.settings import Config
from resexp.data.batches import Images, Sampler, mean_image
from resexp.data.dataset import Dataset
from resexp.errors import UserError
from resexp.model.network import build
from resexp.storage import checkpoint, history
from resexp.training.device import Execution, is_out_of_memory
from resexp.training.engine import Graphed, Iterate, compile_blocks, uncompile, warm_up
from resexp.training.evaluate import evaluate
from resexp.training.schedule import Schedule, warms_up
from resexp.training.step import Step, make_optimizer

log = logging.getLogger("resexp")


class Trainer:
    """Network, optimizer, rate, the sums of the row in progress, and the rows so far."""

    def __init__(self, config: Config, data: Dataset, execution: Execution) -> None:
        recipe, device = config.recipe, execution.device
        if recipe.batch_size > len(data.train):
            size = f"recipe.batch_size={recipe.batch_size}"
            raise UserError(f"{size}: larger than the training set of {len(data.train)} images")
        self.config, self.recipe, self.execution = config, recipe, execution
        self.digest = data.digest
        mean = mean_image(data.train)
        self.train_images = Images.of(data.train, mean, recipe.pad, device)
        self.test_images = Images.of(data.test, mean, 0, device)
        self.sampler = Sampler(config.seed, len(data.train), recipe.batch_size, recipe.pad, recipe.flip, device)
        self.network = build(config.model, config.seed, len(data.classes), device)
        self.step = Step(self.network, make_optimizer(self.network, recipe), execution)
        self.schedule = Schedule(recipe, warms_up(recipe, config.model))
        self.iteration = 0
        self.rows: list[history.Row] = []
        self.loss_sum = torch.zeros((), device=device)
        self.wrong_sum = torch.zeros((), dtype=torch.int64, device=device)

        self.iterate: Iterate = self.eager

    def eager(self, picks: Tensor, rate: float) -> None:
        """One iteration from its plan rows (B, 4): gather, train, count. Nothing in it waits for the device."""
        images, labels = self.train_images.gather(picks)
        loss, wrong = self.step(images, labels, rate)
        self.loss_sum += loss
        self.wrong_sum += wrong

    def advance(self) -> None:
        """Go on by one iteration."""
        self.iteration += 1
        self.iterate(self.sampler.batch(self.iteration), self.schedule.rate(self.iteration))

    def start_engine(self, engine: str) -> str:
        """Let iterations run on an engine; the one that does, which is eager where compiling proves impossible.

        Trial iterations compile, tune and warm up; they leave no trace in what is trained.
        """
        if engine == "eager":
            return engine
        before = copy.deepcopy(self.state())
        picks, rate = self.sampler.batch(self.iteration + 1), self.schedule.rate(self.iteration + 1)
        try:
            if engine.startswith("compile"):
                compile_blocks(self.network, self.config.deterministic)
                self.eager(picks, rate)
            if engine.endswith("graph"):
                warm_up(lambda: self.eager(picks, rate))
                self.iterate = Graphed(self.eager, picks)
                self.iterate(picks, rate)  # what it records serves the first iteration too
        except Exception as error:  # compilers fail in many ways; training goes on without them
            if is_out_of_memory(error):
                raise
            cause = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.warning("engine=%s does not work here (%s); going on with engine=eager", engine, cause)
            uncompile(self.network)
            self.iterate, engine = self.eager, "eager"
        self.load_state(before)
        self.step.optimizer.zero_grad(set_to_none=True)
        return engine

    def row_due(self) -> bool:
        """Rows end every `row_every` iterations, before a drop, and with the run."""
        at = self.iteration
        return at % self.recipe.row_every == 0 or at in self.recipe.drops or at == self.recipe.iterations

    def check_finite(self) -> None:
        """Raise UserError if a loss of the row in progress was not finite; which one, the host did not wait to see."""
        if not math.isfinite(float(self.loss_sum)):
            rate, last = self.schedule.rate(self.iteration), self.iteration
            first = self.rows[-1].iteration + 1 if self.rows else 1
            when = f"at iteration {last}" if first == last else f"within iterations {first} to {last}"
            raise UserError(f"the loss is not finite {when}; use recipe.lr below {rate:g}")

    def row(self) -> history.Row:
        """Measure what is due now, close the row in progress and begin the next."""
        self.check_finite()
        at, recipe = self.iteration, self.recipe
        count = at - (self.rows[-1].iteration if self.rows else 0)
        end = at == recipe.iterations
        test = self.error_on(self.test_images) if at % recipe.evaluate_every == 0 or end else (None, None)
        clean = self.error_on(self.train_images) if at in recipe.drops or end else (None, None)
        row = history.Row(
            iteration=at,
            epoch=at * recipe.batch_size / len(self.train_images),
            learning_rate=self.schedule.rate(at),
            train_loss=float(self.loss_sum) / count,
            train_error=int(self.wrong_sum) / (count * recipe.batch_size),
            test_loss=test[0],
            test_error=test[1],
            clean_train_loss=clean[0],
            clean_train_error=clean[1],
        )
        # As history.csv will show it, so that the rows of a resumed run are those of an undisturbed one.
        (row,) = history.parse(history.write([row]), "")
        self.schedule.row_done(row.train_error)
        self.rows.append(row)
        self.loss_sum.zero_()
        self.wrong_sum.zero_()
        return row

    def error_on(self, images: Images) -> tuple[float, float]:
        """Mean loss and error (a fraction) on a whole set."""
        return evaluate(self.network, images, self.execution)

    def state(self) -> checkpoint.State:
        """Everything that going on needs, in plain containers."""
        return {
            "result": self.config.result(),
            "images": self.digest,
            "iteration": self.iteration,
            "rows": history.write(self.rows),
            "loss_sum": self.loss_sum,
            "wrong_sum": self.wrong_sum,
            "warming_up": self.schedule.warming_up,
            **self.step.state(),
        }

    def snapshot(self) -> checkpoint.State:
        """What a diagnosis needs to know the network as it is now; `rows` tell to which curve it belongs."""
        whole = self.state()
        return {name: whole[name] for name in ("result", "iteration", "rows", "network")}

    def load_state(self, state: checkpoint.State) -> None:
        """Go on from what `state` gave."""
        self.iteration = state["iteration"]
        self.rows = history.parse(state["rows"], "checkpoint")
        self.loss_sum.copy_(state["loss_sum"])
        self.wrong_sum.copy_(state["wrong_sum"])
        self.schedule.warming_up = state["warming_up"]
        self.step.load_state(state)

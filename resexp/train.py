"""Training one run: the loop, and what is measured and saved on its way."""

import logging
import math
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

import torch

from resexp import __version__, checkpoint, history
from resexp.config import Config
from resexp.data import Dataset, load
from resexp.data.batches import Images, Stream, mean_image
from resexp.device import Execution, prepare
from resexp.errors import Interrupted, UserError
from resexp.evaluate import evaluate
from resexp.files import write_text
from resexp.models import build
from resexp.progress import Progress, duration, figures
from resexp.run import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    Record,
    Run,
    source_version,
    start_over,
    this_process,
    utc_now,
)
from resexp.schedule import Schedule, warms_up
from resexp.signals import Stop
from resexp.step import Step, make_optimiser
from resexp.tensorboard import Mirror

log = logging.getLogger("resexp")

TIMING_HEADING = "iteration,seconds,images_per_second\n"


class Training:
    """The state of one run between two iterations: network, rate, sums of the row in progress, rows so far."""

    def __init__(self, config: Config, data: Dataset, execution: Execution) -> None:
        recipe, device = config.recipe, execution.device
        if recipe.batch_size > len(data.train):
            size = f"recipe.batch_size={recipe.batch_size}"
            raise UserError(f"{size}: larger than the training set of {len(data.train)} images")
        self.config, self.recipe, self.execution = config, recipe, execution
        mean = mean_image(data.train)
        self.train_images = Images.of(data.train, mean, recipe.pad, device)
        self.test_images = Images.of(data.test, mean, 0, device)
        self.stream = Stream(config.seed, len(data.train), recipe.batch_size, recipe.pad, recipe.flip, device)
        self.network = build(config.model, config.seed, len(data.classes), device)
        self.step = Step(self.network, make_optimiser(self.network, recipe), execution)
        self.schedule = Schedule(recipe, warms_up(recipe, config.model))
        self.iteration = 0
        self.rows: list[history.Row] = []
        self.loss_sum = torch.zeros((), device=device)
        self.wrong_sum = torch.zeros((), dtype=torch.int64, device=device)

    def advance(self) -> None:
        """One iteration."""
        self.iteration += 1
        images, labels = self.train_images.gather(self.stream.batch(self.iteration))
        loss, wrong = self.step(images, labels, self.schedule.rate(self.iteration))
        self.loss_sum += loss
        self.wrong_sum += wrong

    def row_due(self) -> bool:
        """Rows end every `row_every` iterations, before a drop, and with the run."""
        at = self.iteration
        return at % self.recipe.row_every == 0 or at in self.recipe.drops or at == self.recipe.iterations

    def check_finite(self) -> None:
        """Raise UserError if a loss of the row in progress was not finite."""
        if not math.isfinite(float(self.loss_sum)):
            rate = self.schedule.rate(self.iteration)
            raise UserError(f"the loss is not finite at iteration {self.iteration}; use recipe.lr below {rate:g}")

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
        (row,), _ = history.parse(history.write([row]), "")
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
            "iteration": self.iteration,
            "rows": history.write(self.rows),
            "loss_sum": self.loss_sum,
            "wrong_sum": self.wrong_sum,
            "warming_up": self.schedule.warming_up,
            **self.step.state(),
        }

    def load_state(self, state: checkpoint.State) -> None:
        """Go on from what `state` gave."""
        self.iteration = state["iteration"]
        self.rows, _ = history.parse(state["rows"], "checkpoint")
        self.loss_sum.copy_(state["loss_sum"])
        self.wrong_sum.copy_(state["wrong_sum"])
        self.schedule.warming_up = state["warming_up"]
        self.step.load_state(state)


class Timing:
    """timing.csv: seconds of work so far and training speed of each row, evaluations and saving left out."""

    def __init__(self, run: Run, iteration: int, batch_size: int) -> None:
        self.file, self.batch_size = run.timing_file, batch_size
        self.speeds: dict[int, float] = {}
        self.before = 0.0
        kept = [TIMING_HEADING]
        with suppress(OSError):
            for line in self.file.read_text(errors="replace").splitlines(keepends=True)[1:]:
                with suppress(ValueError):
                    at, seconds, speed = (float(cell) for cell in line.split(","))
                    if at <= iteration and line.endswith("\n"):
                        self.speeds[int(at)] = speed
                        self.before = seconds
                        kept.append(line)
        write_text(self.file, "".join(kept))
        self.began = time.monotonic()
        self.start_row(iteration)

    @property
    def seconds(self) -> float:
        """Seconds of this stretch of work."""
        return time.monotonic() - self.began

    def start_row(self, iteration: int) -> None:
        """Training goes on behind `iteration`."""
        self.row_began, self.row_iteration = time.monotonic(), iteration

    def end_row(self, iteration: int) -> float:
        """Write the line of a row whose last iteration has just been computed; its images per second."""
        images = (iteration - self.row_iteration) * self.batch_size
        speed = images / max(time.monotonic() - self.row_began, 1e-9)
        self.speeds[iteration] = speed
        with self.file.open("a") as out:
            out.write(f"{iteration},{self.before + self.seconds:.3f},{speed:.1f}\n")
        return speed


def train(config: Config) -> Record:
    """Train a run to its end, from wherever it stands; a finished one is left as it is.

    Raises UserError for what a person can mend (the run is then `failed` and can be gone on with), Busy where another
    process is training it, and Interrupted when a signal stopped it; all is saved then.
    """
    run = Run(config.directory)
    with run.claimed():
        if config.fresh:
            run.put_aside(run.directory.parents[3])
        run.identify(config)
        record = run.record()
        if run.is_complete(record):
            return record
        with run.logging(), Stop() as stop, recording_failure(run, record):
            _train(config, run, record, stop)
    return record


def _train(config: Config, run: Run, record: Record, stop: Stop) -> None:
    execution = prepare(config)
    data = load(config.data)
    training = Training(config, data, execution)
    resume(training, run, record, data)
    recipe, name = config.recipe, f"{run.directory.parent.name} {run.directory.name}"
    run.write_history(record, training.rows)
    timing = Timing(run, training.iteration, recipe.batch_size)
    mirror = Mirror(run.directory, training.rows, timing.speeds)
    begin_stretch(record, config, execution, data, training.iteration)
    run.write_record(record)
    if training.iteration:
        log.info("%s: goes on at iteration %d of %d", run, training.iteration, recipe.iterations)
    else:
        log.info("%s: %d iterations on %s in %s", run, recipe.iterations, execution.device, execution.precision)

    def save(state: str) -> None:
        training.check_finite()
        checkpoint.save(training.state(), run.checkpoint_file, run.previous_checkpoint_file)
        record.state, record.iteration = state, training.iteration
        record.stretches[-1] |= {"to": training.iteration, "seconds": round(timing.seconds, 3)}
        run.vouch(record, training.rows)
        run.write_record(record)

    progress = Progress(name, training.iteration, recipe.iterations)
    saved = time.monotonic()
    try:
        while training.iteration < recipe.iterations:
            training.advance()
            progress.iteration()
            if training.row_due():
                training.check_finite()
                speed = timing.end_row(training.iteration)
                row = training.row()
                run.append_history(row)
                mirror.add(row, speed)
                progress.row(row)
                timing.start_row(training.iteration)
            if stop.signal is not None:
                save(INTERRUPTED)
                raise Interrupted(stop.signal)
            if time.monotonic() - saved >= config.checkpoint_seconds:
                began = time.monotonic()
                save(RUNNING)
                saved = time.monotonic()
                timing.row_began += saved - began
        record.final = final_figures(training.rows, recipe.iterations)
        save(FINISHED)
        mirror.finish(config.result())
        last = training.rows[-1]
        log.info("%s: finished in %s, %s", run, duration(record.seconds), figures(last, last.test_error))
    finally:
        progress.close()
        mirror.close()


def resume(training: Training, run: Run, record: Record, data: Dataset) -> None:
    """Take over the newest usable checkpoint, if there is one.

    Raises UserError where none of those that lie there can be used, or the images are not those trained on.
    """
    digest = record.data.get("digest", data.digest)
    if digest != data.digest:
        raise UserError(f"data={data.name}: not the images that {run} was trained on; {start_over(run)}")
    state = checkpoint.load_newest(run.checkpoint_files, training.config.result(), start_over(run))
    if state is not None:
        training.load_state(state)


def begin_stretch(record: Record, config: Config, execution: Execution, data: Dataset, iteration: int) -> None:
    """Note who goes on with a run from here, on what, and with which versions."""
    how = {**execution.describe(), "engine": "eager", "deterministic": config.deterministic, "resexp": __version__}
    if record.stretches and iteration:
        last = record.stretches[-1]
        changed = [f"{key} {last.get(key)} -> {value}" for key, value in how.items() if last.get(key) != value]
        if changed:
            changes = ", ".join(changed)
            log.warning("%s: goes on with %s; last digits may differ", config.directory, changes)
    if not iteration:
        record.stretches.clear()
    stretch = {"from": iteration, "to": iteration, "seconds": 0.0, "started": utc_now(), **how, **source_version()}
    record.stretches.append(stretch)
    record.state, record.error, record.process = RUNNING, None, this_process()
    record.iteration, record.iterations = iteration, config.recipe.iterations
    record.data = {
        "name": data.name,
        "digest": data.digest,
        "classes": len(data.classes),
        "train_images": len(data.train),
        "test_images": len(data.test),
    }


def final_figures(rows: list[history.Row], iterations: int) -> dict[str, float]:
    """The figures that stand for a finished run; errors are fractions."""
    last = rows[-1]
    measured = {
        "running_error": history.running_error(rows, iterations),
        "test_error": last.test_error,
        "test_loss": last.test_loss,
        "clean_train_error": last.clean_train_error,
        "clean_train_loss": last.clean_train_loss,
    }
    return {name: value for name, value in measured.items() if value is not None}


@contextmanager
def recording_failure(run: Run, record: Record) -> Generator[None, None, None]:
    """Turn what goes wrong into one line, kept in run.json; the traceback goes to train.log."""
    try:
        yield
    except Interrupted:
        log.info("%s: interrupted at iteration %d; the same command goes on from there", run, record.iteration)
        raise
    except Exception as error:
        problem = explain(error)
        record.state, record.error = FAILED, str(problem)
        log.debug("%s failed", run, exc_info=error)
        with suppress(OSError):
            run.write_record(record)
        raise problem from error


def explain(error: Exception) -> Exception:
    """The line for a person, where the cause is one that a person can mend; else the error itself."""
    if isinstance(error, OSError):
        what = f"{error.filename or 'a file of the run'}: {error.strerror or error}"
        return UserError(f"cannot write {what}; free space or choose a folder with runs=PATH")
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return UserError("out of memory; use a smaller recipe.batch_size, a smaller model.width or another device")
    return error

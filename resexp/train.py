"""Training one run: the loop, and what is measured and saved on its way."""

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

import torch

from resexp import __version__, checkpoint, history
from resexp.config import Config
from resexp.data import Dataset, load
from resexp.device import Execution, prepare
from resexp.errors import Interrupted, UserError
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
from resexp.signals import Stop
from resexp.tensorboard import Mirror
from resexp.timing import Timing
from resexp.trainer import Trainer

log = logging.getLogger("resexp")


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
        with run.logging(), recording_failure(run, record):
            execution = prepare(config)
            data = load(config.data)  # a signal ends the process here, where nothing can be lost
            with Stop() as stop:
                _train(config, run, record, execution, data, stop)
    return record


def _train(config: Config, run: Run, record: Record, execution: Execution, data: Dataset, stop: Stop) -> None:
    trainer = Trainer(config, data, execution)
    resume(trainer, run, record, data)
    recipe, name = config.recipe, f"{run.directory.parent.name} {run.directory.name}"
    run.write_history(record, trainer.rows)
    timing = Timing(run, trainer.iteration, recipe.batch_size)
    mirror = Mirror(run.directory, trainer.rows, timing.speeds)
    begin_stretch(record, config, execution, data, trainer.iteration)
    run.write_record(record)
    if trainer.iteration:
        log.info("%s: goes on at iteration %d of %d", run, trainer.iteration, recipe.iterations)
    else:
        log.info("%s: %d iterations on %s in %s", run, recipe.iterations, execution.device, execution.precision)

    def save(state: str) -> None:
        trainer.check_finite()
        checkpoint.save(trainer.state(), run.checkpoint_file, run.previous_checkpoint_file)
        record.state, record.iteration = state, trainer.iteration
        record.stretches[-1] |= {"to": trainer.iteration, "seconds": round(timing.seconds, 3)}
        run.vouch(record, trainer.rows)
        run.write_record(record)

    progress = Progress(name, trainer.iteration, recipe.iterations)
    saved = time.monotonic()
    try:
        while trainer.iteration < recipe.iterations:
            trainer.advance()
            progress.iteration()
            if trainer.row_due():
                trainer.check_finite()
                speed = timing.end_row(trainer.iteration)
                row = trainer.row()
                run.append_history(row)
                mirror.add(row, speed)
                progress.row(row)
                timing.start_row(trainer.iteration)
            if stop.signal is not None:
                save(INTERRUPTED)
                raise Interrupted(stop.signal)
            if time.monotonic() - saved >= config.checkpoint_seconds:
                began = time.monotonic()
                save(RUNNING)
                saved = time.monotonic()
                timing.row_began += saved - began
        record.final = final_figures(trainer.rows, recipe.iterations)
        save(FINISHED)
        mirror.finish(config.result())
        last = trainer.rows[-1]
        log.info("%s: finished in %s, %s", run, duration(record.seconds), figures(last, last.test_error))
    finally:
        progress.close()
        mirror.close()


def resume(trainer: Trainer, run: Run, record: Record, data: Dataset) -> None:
    """Take over the newest usable checkpoint, if there is one.

    Raises UserError where none of those that lie there can be used, or the images are not those trained on.
    """
    digest = record.data.get("digest", data.digest)
    if digest != data.digest:
        raise UserError(f"data={data.name}: not the images that {run} was trained on; {start_over(run)}")
    state = checkpoint.load_newest(run.checkpoint_files, trainer.config.result(), start_over(run))
    if state is not None:
        trainer.load_state(state)


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

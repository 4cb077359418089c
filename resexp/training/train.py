"""Training one run, from wherever it stands to its end."""

import logging
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress

from resexp.config.settings import Config
from resexp.data.dataset import Dataset
from resexp.data.load import load
from resexp.errors import BrokenProcess, Interrupted, UserError, first_line
from resexp.model.cost import memory
from resexp.storage import checkpoint
from resexp.storage.run import FAILED, INTERRUPTED, RUNNING, Record, Run, start_over
from resexp.system.logs import logging_to
from resexp.system.memory import require_memory
from resexp.system.signals import Stop
from resexp.training import start, turns
from resexp.training.device import is_out_of_memory, prepare
from resexp.training.engine import choose
from resexp.training.progress import Position
from resexp.training.recorder import Recorder
from resexp.training.trainer import Trainer

log = logging.getLogger("resexp")


def train(config: Config, position: Position | None = None) -> Record:
    """Train a run to its end, from wherever it stands; a finished one is left as it is.

    Raises UserError for what a user can mend: where device, engine, images or the weights to start from are missing,
    nothing is changed; later the run is `failed`, and the same call resumes it. Raises Busy where another process is
    training it, Interrupted when a signal stopped it (all is saved then), and BrokenProcess where this process can
    compute no more.
    """
    began = time.monotonic()
    run = Run(config.directory)
    with run.claimed(), explained():
        record = Record()
        if not config.fresh:
            record = run.identify(config)
            if run.is_complete(record):
                return record
        execution = prepare(config)
        engine = choose(config.engine, execution)
        require_memory(memory(config, execution.device.type == "cpu"))
        data = load(config.data)  # a signal ends the process here, where nothing can be lost
        weights = start.load(config, data)
        if config.fresh:
            run.put_aside()
        record.config_sha256 = run.write_config(config.content())
        with execution.own_stream(), logging_to(run.log_file), recording_failure(run, record):
            trainer = Trainer(config, data, execution)
            if weights is not None:
                trainer.network.load_state_dict(weights)
            resume(trainer, run, record, data)
            engine = trainer.start_engine(engine)
            recorder = Recorder(config, run, record, trainer, position, began)
            with Stop() as stop, closing(recorder.progress.bar):
                recorder.begin(execution, data, engine)
                loop(trainer, recorder, stop)
    return record


def loop(trainer: Trainer, recorder: Recorder, stop: Stop) -> None:
    """The training loop: train, evaluate, record, save. Raises Interrupted, all being saved, when a signal has come."""
    while not trainer.finished:
        trainer.advance()
        recorder.iteration()
        if trainer.row_due():
            turns.wait(trainer.execution.settled)
            recorder.row_trained()
            test = trainer.test() if trainer.test_due() else None
            clean = trainer.clean() if trainer.clean_due() else None
            if trainer.finished:
                trainer.check_finite(test, clean)
            recorder.row(trainer.close_row(test, clean))
        if stop.signal is not None:
            recorder.save(INTERRUPTED)
            raise Interrupted(stop.signal)
        if recorder.save_due():
            recorder.save(RUNNING)
        turns.pass_turn()
    recorder.finish()
    if stop.signal is not None:
        raise Interrupted(stop.signal)


def resume(trainer: Trainer, run: Run, record: Record, data: Dataset) -> None:
    """Take over the newest usable checkpoint, if there is one.

    Raises UserError where none of those in the folder can be used, or the images are not those trained on.
    """
    state = checkpoint.load_newest(run.checkpoint_files, trainer.config.result(), start_over(run), writing=True)
    known = {record.data.get("digest", data.digest), (state or {}).get("images", data.digest)}
    if known != {data.digest}:
        raise UserError(f"data={data.name}: not the images that {run} was trained on; {start_over(run)}")
    if state is not None:
        trainer.load_state(state)


@contextmanager
def recording_failure(run: Run, record: Record) -> Generator[None, None, None]:
    """Turn what goes wrong into one line, kept in run.json; the traceback goes to train.log."""
    try:
        yield
    except Interrupted:
        if record.state == INTERRUPTED:
            log.info("%s: interrupted at iteration %d; the same command resumes it", run, record.iteration)
        raise
    except (Exception, BrokenProcess) as error:
        problem = explain(error)
        record.state, record.error = FAILED, str(problem)
        log.debug("%s failed", run, exc_info=error)
        with suppress(OSError):
            run.write_record(record)
        raise problem from error


@contextmanager
def explained() -> Generator[None, None, None]:
    """Turn a file that cannot be written, before or after the training itself, into one line."""
    try:
        yield
    except OSError as error:
        raise explain(error) from error


def explain(error: BaseException) -> BaseException:
    """The line for the user where the cause is one that a user can mend; else the error itself."""
    if isinstance(error, BrokenProcess):  # whatever the cause: a run after this one must not begin
        return error
    if isinstance(error, OSError):
        what = f"{error.filename or 'a file of the run'}: {error.strerror or error}"
        return UserError(f"cannot write {what}; free space or choose a folder with runs=PATH")
    if is_out_of_memory(error):
        return UserError("out of memory; use a smaller recipe.batch_size, a smaller model.width or another device")
    if isinstance(error, RuntimeError) and "CUDA error" in str(error):  # after which CUDA serves this process no more
        return BrokenProcess(f"the GPU failed ({first_line(error)}); the same command goes on from the last checkpoint")
    return error

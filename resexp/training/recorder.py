"""Everything that is written while a run trains: the curve, its times, TensorBoard, checkpoints, run.json, the bar."""

import logging
import time

from resexp import __version__
from resexp.config.settings import Config
from resexp.data.dataset import Dataset
from resexp.formatting import duration
from resexp.storage import checkpoint, history
from resexp.storage.history import Row
from resexp.storage.provenance import source_version, this_process, utc_now
from resexp.storage.run import FINISHED, RUNNING, Record, Run
from resexp.storage.timing import Timing
from resexp.training import start
from resexp.training.crowd import Crowd
from resexp.training.device import Execution
from resexp.training.engine import Engine
from resexp.training.progress import Position, Progress, errors
from resexp.training.tensorboard import Mirror
from resexp.training.trainer import Trainer

log = logging.getLogger("resexp")


class Recorder:
    """Writes down one session of a run, from the trainer's iteration on."""

    def __init__(
        self, config: Config, run: Run, record: Record, trainer: Trainer, position: Position | None, began: float
    ) -> None:
        self.config, self.run, self.record, self.trainer = config, run, record, trainer
        recipe = config.recipe
        run.write_history(record, trainer.rows)
        self.timing = Timing(run, trainer.iteration, recipe.batch_size, began)
        self.mirror = Mirror(config, trainer.rows, self.timing.speeds, trainer.gradient_norms)
        name = f"{run.directory.parent.name} {run.directory.name}"
        self.progress = Progress(name, trainer.iteration, recipe.iterations, position or Position())
        self.crowd = Crowd(trainer.execution)
        self.saved = time.monotonic()

    def begin(self, execution: Execution, data: Dataset, engine: Engine) -> None:
        """Note in run.json who trains from here, on what, with which versions and images."""
        record, at = self.record, self.trainer.iteration
        if self.config.remark():
            log.warning("%s", self.config.remark())
        how = {
            **execution.describe(),
            "engine": str(engine),
            "deterministic": self.config.deterministic,
            "resexp": __version__,
        }
        if at:
            log.info("%s: resumes at iteration %d of %d", self.run, at, self.config.recipe.iterations)
            last = record.sessions[-1] if record.sessions else how
            changes = [f"{key} {last.get(key)} -> {value}" for key, value in how.items() if last.get(key) != value]
            if changes:
                log.warning(
                    "%s: %s; the curve may differ from that of an undisturbed run", self.run, ", ".join(changes)
                )
        else:
            if record.iteration:
                log.warning("%s: no checkpoint left of its %d iterations; starting over", self.run, record.iteration)
            record.sessions.clear()
            iterations, device = self.config.recipe.iterations, execution.device
            log.info("%s: %d iterations on %s in %s", self.run, iterations, device, execution.precision)
        session = {"from": at, "to": at, "seconds": 0.0, "started": utc_now(), **how, **source_version()}
        record.sessions.append(session)
        record.state, record.error, record.process = RUNNING, None, this_process()
        record.iteration, record.iterations = at, self.config.recipe.iterations
        record.data = {
            "name": data.name,
            "digest": data.digest,
            "classes": len(data.classes),
            "train_images": len(data.train),
            "test_images": len(data.test),
        }
        record.start = start.origin(self.config)
        self.run.write_record(record)

    def iteration(self) -> None:
        """One more iteration was launched; the first of a session is waited for, since it ends the start-up."""
        if self.timing.starting:
            self.trainer.check_finite()
            self.timing.end_startup(self.trainer.iteration)
            self.crowd = Crowd(self.trainer.execution)
        elif self.crowd.noticed():
            threads, remedy = self.crowd.threads, "give each run cores of its own, such as with threads=1"
            log.warning(
                "%s: its %d threads wait for cores that other work uses, which slows all of it; %s",
                self.run,
                threads,
                remedy,
            )
        self.progress.iteration()

    def row_trained(self) -> None:
        """The iterations of a row are done, its evaluations are not: here its time ends."""
        self.trainer.check_finite()  # waits for the device
        self.timing.end_row(self.trainer.iteration)
        if self.trainer.test_due() or self.trainer.clean_due():
            self.progress.evaluating()

    def row(self, row: Row) -> None:
        """Write a row everywhere."""
        if self.config.snapshots and row.test_error is not None and not self.trainer.finished:
            self.run.snapshot_folder.mkdir(exist_ok=True)
            checkpoint.save(self.trainer.snapshot(), self.run.snapshot_file(row.iteration))
        self.run.append_history(row)
        self.mirror.add(row)
        self.progress.row(row)
        self.timing.start_row(row.iteration)

    def save(self, state: str) -> None:
        """Write a checkpoint, and the state of the run into run.json."""
        began = time.monotonic()
        trainer, record = self.trainer, self.record
        trainer.check_finite()
        checkpoint.save(trainer.state(), self.run.checkpoint_file, self.run.previous_checkpoint_file)
        record.state, record.iteration = state, trainer.iteration
        record.sessions[-1] |= {
            "to": trainer.iteration,
            "seconds": round(self.timing.seconds, 3),
            "seconds_startup": round(self.timing.seconds_startup, 3),
            "peak_memory_mb": trainer.execution.peak_memory_mb(),
        }
        self.run.vouch(record, trainer.rows)
        self.run.write_record(record)
        self.saved = time.monotonic()
        self.timing.leave_out(self.saved - began)

    def save_due(self) -> bool:
        """Whether the last checkpoint is old enough for the next."""
        return time.monotonic() - self.saved >= self.config.checkpoint_seconds

    def finish(self) -> None:
        """Enter the final metrics; the run is finished."""
        last = self.trainer.rows[-1]
        measured = {
            "running_error": history.running_error(self.trainer.rows, self.config.recipe.iterations),
            "test_error": last.test_error,
            "test_loss": last.test_loss,
            "clean_train_error": last.clean_train_error,
            "clean_train_loss": last.clean_train_loss,
        }
        self.record.final = {name: value for name, value in measured.items() if value is not None}
        self.mirror.finish()
        self.save(FINISHED)
        seconds, startup = duration(self.record.seconds), duration(self.timing.seconds_startup)
        said = errors(self.record.final["running_error"], last.test_error)
        log.info("%s: finished in %s after %s of start-up, %s", self.run, seconds, startup, said)

"""`resexp train`: one run, or one of a sweep. torch is imported only to train."""

import logging

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from resexp.compose import to_config
from resexp.errors import Busy, UserError
from resexp.run import Run
from resexp.sweep import Outcome, position

log = logging.getLogger("resexp")


def task(cfg: DictConfig) -> Outcome:
    """Train what a composed configuration says, and tell what became of it.

    What a person can mend is told, not raised, so that a sweep goes on with the next run.
    """
    name = "run"
    try:
        config = to_config(cfg)
        run = Run(config.directory)
        name = str(run)
        if not config.fresh and run.record_file.exists() and not run.in_use():
            run.check_identity(config)
            if run.is_complete(run.record()):
                log.info("%s: finished already", run)
                return Outcome(name, "finished before")
        from resexp.train import train

        hydra = HydraConfig.get()
        place = position(hydra.job.num) if hydra.mode == RunMode.MULTIRUN else None
        final = train(config, place).final
    except Busy as busy:
        return Outcome(name, "busy", busy)
    except UserError as error:
        return Outcome(name, "failed", error)
    errors = f"training error {final['running_error']:.1%}, test error {final['test_error']:.1%}"
    return Outcome(name, f"finished, {errors}")

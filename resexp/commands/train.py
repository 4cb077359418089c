"""`resexp train`: one run, or one of a sweep. torch is imported only to train."""

import logging
import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from resexp.config.compose import to_config
from resexp.errors import Busy, UserError, only_text
from resexp.storage.run import Run
from resexp.sweep import plan
from resexp.sweep.sweeper import AHEAD, FINISHED_BEFORE, Outcome

log = logging.getLogger("resexp")


def task(cfg: DictConfig) -> Outcome:
    """Train the run of a composed configuration; its outcome. Errors are part of it, so that a sweep goes on."""
    name, hydra = "run", HydraConfig.get()
    try:
        for plugin, usual in (("launcher", "basic"), ("sweeper", "study")):
            choice = hydra.runtime.choices[f"hydra/{plugin}"]
            if hydra.mode == RunMode.RUN and choice != usual:
                raise UserError(f"hydra/{plugin}={choice}: a {plugin} takes the runs of a sweep; add -m")
        config = to_config(cfg)
        run = Run(config.directory)
        name = str(run)
        if config.plan:
            print(plan.table([config]))
            return Outcome(name, "planned")
        if hydra.mode == RunMode.RUN and run.is_done(config):
            log.info("%s: finished already%s", run, run.precision_told(config))
            if problem := run.checkpoint_problem():
                log.warning("%s", problem)
            return Outcome(name, FINISHED_BEFORE)
        from resexp.training.train import train

        ahead = AHEAD.get() if hydra.mode == RunMode.MULTIRUN else None
        final = train(config, ahead.position(hydra.job.num) if ahead else None).final
    except Busy as busy:
        return Outcome(name, "busy", Busy(str(busy)))
    except Exception as error:
        if hydra.mode == RunMode.RUN and not isinstance(error, UserError):
            raise
        kept = Run(Path(name)).log_file
        return Outcome(name, "failed", only_text(error), str(kept) if os.access(kept, os.F_OK) else "")
    errors = f"training error {final['running_error']:.1%}, test error {final['test_error']:.1%}"
    return Outcome(name, f"finished, {errors}", running_error=final["running_error"])

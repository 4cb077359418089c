"""`resexp train`: one run, or one of a sweep. torch is imported only to train."""

import logging
import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import BooleanNode, DictConfig
from omegaconf.errors import OmegaConfBaseException

from resexp.config.compose import keep_presets, to_config
from resexp.errors import Busy, UserError, only_text
from resexp.printing import printing
from resexp.storage.run import Run
from resexp.sweep import plan
from resexp.sweep.sweeper import AHEAD, FINISHED_BEFORE, Outcome
from resexp.training.importing import import_training

log = logging.getLogger("resexp")

PLANNED = "planned"


def task(cfg: DictConfig) -> Outcome:
    """Train the run of a composed configuration; its outcome. Errors are part of it, so that a sweep goes on."""
    alone = HydraConfig.get().mode == RunMode.RUN  # of runs that take turns, the first to end takes it away
    outcome = run_of(cfg, alone)
    if alone and outcome.words != PLANNED and json_wanted(cfg):
        with printing(as_json=True) as show:
            show("", outcome.record())
    return outcome


def json_wanted(cfg: DictConfig) -> bool:
    """Whether `json` says yes in one of YAML's words, also where other settings are wrong."""
    try:
        return BooleanNode(cfg.get("json"))._value() is True
    except OmegaConfBaseException:
        return False


def run_of(cfg: DictConfig, alone: bool) -> Outcome:
    """What becomes of the run, which is no part of a sweep where it is `alone`."""
    name, hydra = "run", HydraConfig.get()
    try:
        for plugin, usual in (("launcher", ("auto", "basic")), ("sweeper", ("study",))):
            choice = hydra.runtime.choices[f"hydra/{plugin}"]
            if alone and choice not in usual:
                raise UserError(f"hydra/{plugin}={choice}: a {plugin} takes the runs of a sweep; add -m")
        keep_presets(cfg, hydra.overrides.task)
        config = to_config(cfg)
        run = Run(config.directory)
        name = str(run)
        if config.plan:
            text, expected = plan.table([config])
            with printing(config.json) as show:
                show(text, *(one.record() for one in expected))
            return Outcome(name, PLANNED)
        if alone and run.is_done(config):
            log.info("%s: finished already%s", run, run.precision_told(config))
            if problem := run.checkpoint_problem():
                log.warning("%s", problem)
            return Outcome.finished(name, FINISHED_BEFORE, run.record().final)
        import_training(config)
        from resexp.training.train import train

        ahead = None if alone else AHEAD.get()
        final = train(config, ahead.position(hydra.job.num) if ahead else None).final
    except Busy as busy:
        return Outcome(name, "busy", Busy(str(busy)))
    except Exception as error:
        if alone and not isinstance(error, UserError):
            raise
        kept = Run(Path(name)).log_file
        return Outcome(name, "failed", only_text(error), str(kept) if os.access(kept, os.F_OK) else "")
    return Outcome.finished(name, "finished", final)

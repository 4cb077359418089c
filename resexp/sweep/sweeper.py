"""Hydra's sweeper, with what a study needs of it: all settings checked first, and one table at the end."""

import json
import pickle
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from resexp.config.compose import LAUNCHERS, OPTUNA, SWEEPER, not_installed, to_config
from resexp.config.settings import Config
from resexp.errors import Busy, Interrupted, UserError, only_text
from resexp.printing import printing
from resexp.storage.run import Run
from resexp.sweep import plan
from resexp.sweep.outcome import Outcome, table
from resexp.sweep.progress import SweepProgress
from resexp.system.logs import set_console
from resexp.training.progress import Position

Plugins.instance()
# Only now: Hydra's scan for plugins executes their modules once more, and a class imported before is then another one.
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # noqa: E402

FINISHED_BEFORE = "finished before"


@dataclass(frozen=True)
class Ahead:
    """What the sweep that this process works for still had to do when its runs were launched."""

    costs: list[float]
    """Of each of these runs, in multiply-adds."""
    runs: int
    """All runs of the sweep, finished ones included."""
    at_once: int = 1

    def position(self, number: int) -> Position:
        """The place of the run with this number, and what comes after it; of several at once a sweep tells that."""
        after = sum(self.costs[number + 1 :]) / max(self.costs[number], 1)
        return Position(f"{number + 1} of {len(self.costs)}: ", after if self.at_once == 1 else 0.0)


AHEAD: ContextVar[Ahead | None] = ContextVar("ahead", default=None)
"""Of the sweep that this process works for; None where its runs do not know of each other."""


class StudySweeper(BasicSweeper):
    """`BasicSweeper` that checks the rules of every run before the first is trained, and reports on all of them."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take over Hydra's objects. Raises UserError where the launcher's extra is not installed."""
        set_console(config.hydra.runtime.choices["hydra/job_logging"])
        launcher = config.hydra.launcher.get("_target_")
        if module_name := LAUNCHERS.get(launcher):
            try:
                module = import_module(f"resexp.sweep.{module_name}")
            except ImportError as error:
                choice = config.hydra.runtime.choices["hydra/launcher"]
                raise UserError(not_installed(f"launcher={choice}", module_name)) from error
            Plugins.instance().class_name_to_class[launcher] = getattr(module, launcher.rpartition(".")[2])
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the runs that are not finished, and print what became of each.

        Raises UserError if one failed, and Interrupted if a signal stopped one.
        """
        jobs = self.jobs(arguments)
        assert self.config is not None
        assert self.hydra_context is not None
        configs = composed(self.hydra_context, self.config, jobs)
        refuse_duplicates(configs, jobs)
        if configs[0].plan:
            text, expected = plan.table(configs)
            with printing(configs[0].json) as show:
                show(text, *(one.record() for one in expected))
            return []
        outcomes = [finished_before(config) for config in configs]
        due = [number for number, outcome in enumerate(outcomes) if outcome is None]
        done = self.launch([jobs[number] for number in due], [configs[number] for number in due], len(jobs))
        for number, one in zip(due, done, strict=True):
            outcomes[number] = outcome_of(one, configs[number])
        ended = [outcome for outcome in outcomes if outcome]
        with suppress(OSError):  # the terminal may be gone
            print(table(ended), file=sys.stderr)
        with printing(configs[0].json) as show:
            show("", *(outcome.record() for outcome in ended))
        errors = [outcome.error for outcome in ended]
        for error in errors:
            if isinstance(error, Interrupted):
                raise error
        failed = sum(error is not None and not isinstance(error, Busy) for error in errors)
        if failed:
            raise UserError(f"{failed} of {len(ended)} runs failed; the same command tries them again")
        return ended

    def jobs(self, arguments: list[str]) -> list[list[str]]:
        """The overrides of each run. Raises UserError where there is none."""
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (jobs,) = self.split_arguments(overrides, None)
        if not jobs:
            raise UserError("the sweep holds no run; does a glob match nothing?")
        return jobs

    def launch(self, jobs: list[list[str]], configs: list[Config], runs: int) -> Sequence[JobReturn]:
        """Give the runs that are due, of `runs` in all, to Hydra's launcher, with a scratch folder for its files."""
        assert self.config is not None
        assert self.launcher is not None
        if not jobs:
            return []
        before = AHEAD.set(Ahead([plan.cost(config) * config.recipe.iterations for config in configs], runs))
        try:
            with tempfile.TemporaryDirectory(prefix="resexp-") as scratch, SweepProgress(configs):
                OmegaConf.update(self.config, "hydra.sweep.dir", scratch)
                return self.launcher.launch([[*job, f"hydra.sweep.dir='{scratch}'"] for job in jobs], initial_job_idx=0)
        finally:
            AHEAD.reset(before)


def composed(context: HydraContext, config: DictConfig, jobs: Sequence[Sequence[str]]) -> list[Config]:
    """The settings of each run of a sweep. Raises UserError for a broken rule.

    Hydra takes a tenth of a second to put files together, and to check settings takes a tenth of that: the first is
    done once for all runs that choose the same files, the second once for all that differ in nothing but their seed.
    """
    loader, parser = context.config_loader, OverridesParser.create()
    words = list({word for job in jobs for word in job})
    parsed = dict(zip(words, parser.parse_overrides(words), strict=True))
    keys = {one.key_or_group for one in parsed.values()}
    groups = {key for key in keys if key.startswith("hydra") or loader.get_group_options(key)}
    chosen: dict[tuple[str, ...], bytes] = {}  # pickled: deepcopy takes six times as long
    checked: dict[str, Config] = {}
    configs: list[Config] = []
    for job in jobs:
        files = tuple(word for word in job if parsed[word].key_or_group in groups)
        if files not in chosen:
            cfg = loader.load_sweep_config(config, list(files))
            with open_dict(cfg):
                del cfg["hydra"]
            chosen[files] = pickle.dumps(cfg)
        cfg = pickle.loads(chosen[files])
        ConfigLoaderImpl._apply_overrides_to_config([parsed[word] for word in job if word not in files], cfg)
        content: Any = OmegaConf.to_container(cfg, resolve=True)
        seed, key = content.pop("seed", None), json.dumps(content, default=repr)
        if type(seed) is not int or key not in checked:
            checked[key] = to_config(cfg)
            configs.append(checked[key])
        else:
            configs.append(checked[key].with_seed(seed))
    return configs


def refuse_duplicates(configs: list[Config], jobs: list[list[str]]) -> None:
    """Raise UserError where two runs of a sweep are the same run."""
    directories: dict[Path, list[str]] = {}
    for config, job in zip(configs, jobs, strict=True):
        own = " ".join(word for word in job if not word.startswith("hydra."))  # what the user gave
        directories.setdefault(config.directory, []).append(own)
    for directory, same in directories.items():
        if len(same) > 1:
            raise UserError(f"a sweep names the same run twice ({directory}): {' and '.join(same)}")


def finished_before(config: Config) -> Outcome | None:
    """The outcome of a run that was finished before; a run that cannot be read is left to the attempt."""
    run = Run(config.directory)
    with suppress(UserError):
        if run.is_done(config):
            words = FINISHED_BEFORE + run.precision_told(config)
            return Outcome.finished(str(run), words, run.record().final)
    return None


def outcome_of(one: JobReturn, config: Config) -> Outcome:
    """What became of a run, also where it ended by a bug of ours, or finished and could not report it."""
    if one.status == JobStatus.COMPLETED:
        return one.return_value
    if done := finished_before(config):
        return replace(done, words="finished")
    error = one._return_value  # the property raises it
    return Outcome(str(config.directory), "failed", only_text(error))


def register() -> None:
    """Let Hydra find the sweeper that conf/train.yaml names, and ours in place of Optuna's if that is installed."""
    Plugins.instance().class_name_to_class[SWEEPER] = StudySweeper
    if OPTUNA in Plugins.instance().class_name_to_class:
        from resexp.sweep.optuna import OptunaSweeper

        Plugins.instance().class_name_to_class[OPTUNA] = OptunaSweeper

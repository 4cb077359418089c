"""`hydra/sweeper=optuna`: Optuna chooses the settings of each run, for the least final running training error."""

import logging
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_optuna_sweeper import optuna_sweeper
from omegaconf import DictConfig, OmegaConf, open_dict

from resexp.errors import UserError
from resexp.printing import printing
from resexp.sweep.outcome import Outcome, table
from resexp.system.logs import set_console

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
RESULTS = "optimization_results.yaml"


class OptunaSweeper(optuna_sweeper.OptunaSweeper):
    """Hydra's sweeper for runs one after another, told as any sweep; a run that fails is a failed trial."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take over Hydra's objects. Raises UserError for what does not go with a search."""
        launcher = config.hydra.runtime.choices["hydra/launcher"]
        if launcher not in ("auto", "basic"):
            raise UserError(f"hydra/launcher={launcher}: Optuna has its runs one after another; leave it out")
        with open_dict(config):
            config.hydra.launcher = {"_target_": BASIC}
        if config.plan:
            raise UserError("plan=true: Optuna chooses runs by the errors of those before; leave it out")
        set_console(config.hydra.runtime.choices["hydra/job_logging"])
        logging.getLogger("optuna").setLevel(logging.WARNING)
        self.outcomes: list[Outcome] = []

        def task(cfg: DictConfig) -> Outcome:
            self.outcomes.append(task_function(cfg))
            return self.outcomes[-1]

        super().setup(hydra_context=hydra_context, task_function=task, config=config)
        self.sweeper.n_jobs = 1  # else several are chosen before the error of the first is known

    def sweep(self, arguments: list[str]) -> None:
        """Train what Optuna chooses, print what became of each run, then the best. Raises UserError where none is."""
        logging.getLogger(optuna_sweeper.__package__).setLevel(logging.CRITICAL)  # the table says what it would
        config = self.sweeper.config
        assert config is not None
        with tempfile.TemporaryDirectory(prefix="resexp-") as scratch:
            OmegaConf.update(config, "hydra.sweep.dir", scratch)
            try:
                super().sweep(arguments)
            except ValueError as error:
                raise UserError(f"hydra/sweeper=optuna: {error}") from error
            finally:
                if self.outcomes:
                    with suppress(OSError):  # the terminal may be gone
                        print(table(self.outcomes), file=sys.stderr)
                with printing(config.json) as show:
                    show("", *(outcome.record() for outcome in self.outcomes))
            best = OmegaConf.load(Path(scratch, RESULTS))
            kept = shutil.move(Path(scratch, RESULTS), Path(config.runs, RESULTS))
        chosen = " ".join(f"{name}={value}" for name, value in best.best_params.items())
        if not config.json:
            print(f"best: {chosen}, running training error {best.best_value:.1%}; see {kept}")

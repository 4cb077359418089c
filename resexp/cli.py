"""`resexp VERB ...`: the verb picks a task and its root configuration, Hydra does the rest."""

import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from resexp import __version__
from resexp.errors import Busy, Interrupted, UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from resexp.sweep import Outcome

log = logging.getLogger("resexp")

VERBS = {
    "train": "train a network, or with -m a sweep of them:  resexp train model=resnet56",
    "report": "figures, tables and a page from finished runs:  resexp report runs=runs out=report",
    "evaluate": "error of a trained run:  resexp evaluate run=runs/cifar10/paper/resnet56/seed0",
    "models": "the networks: layers, parameters, multiply-adds, published error",
}

HELP = """resexp: train plain and residual networks on CIFAR-10 and see whether depth hurts them.

Usage: resexp VERB [setting=value ...]

{verbs}

  resexp VERB --help      the settings of a verb and their values
  resexp train --cfg job  show the settings of a run, train nothing
  resexp --version
Shell completion: eval "$(resexp -sc install=bash)"
First steps without any download: resexp train experiment=quick, then resexp report
"""


def train_task(cfg: "DictConfig") -> "Outcome":
    """Train what a composed configuration says, and tell what became of it. torch is imported only to train.

    What a person can mend is told, not raised, so that a sweep goes on with the next run.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from resexp.compose import to_config
    from resexp.run import Run
    from resexp.sweep import Outcome, position

    name = "run"
    try:
        config = to_config(cfg)
        run = Run(config.directory)
        name = str(run)
        if not config.fresh and run.record_file.exists() and not run.in_use():
            run.identify(config)
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


def evaluate_task(cfg: "DictConfig") -> "Outcome":
    """Measure and print the error of a trained run."""
    from resexp.evaluate import task

    return told(task, cfg)


def report_task(cfg: "DictConfig") -> "Outcome":
    """Write the report."""
    from resexp.report import task

    return told(task, cfg)


def told(task: "Callable[[DictConfig], None]", cfg: "DictConfig") -> "Outcome":
    """Do a task; what a person can mend is told, not raised."""
    from resexp.sweep import Outcome

    try:
        task(cfg)
    except UserError as error:
        return Outcome(task.__module__, "failed", error)
    return Outcome(task.__module__, "done")


TASKS: dict[str, "Callable[[DictConfig], Outcome]"] = {
    "train": train_task,
    "report": report_task,
    "evaluate": evaluate_task,
}


def print_models() -> None:
    """A table of the networks in conf/model."""
    import yaml

    from resexp.compose import conf_dir
    from resexp.config import ModelConfig
    from resexp.count import multiply_adds, parameters
    from resexp.paper import TEST_ERROR

    print(f"{'model':<12}{'layers':>7}{'parameters':>13}{'multiply-adds':>16}{'paper, test error':>20}")
    presets = [yaml.safe_load(path.read_text()) for path in (conf_dir() / "model").glob("*.yaml")]
    for preset in sorted(presets, key=lambda preset: (preset["residual"], preset["depth"])):
        model = ModelConfig(**{"shortcut": "A", "width": 1, "norm": "batch"} | preset)
        published = TEST_ERROR.get(model.name)
        shown = f"{published.percent:.2f} %" if published else "-"
        macs = f"{multiply_adds(model) / 1e6:,.1f} M"
        print(f"{model.name:<12}{model.depth:>7}{parameters(model):>13,}{macs:>16}{shown:>20}")


def with_hydra(verb: str) -> None:
    """Compose the verb's configuration from sys.argv and run its task. Raises UserError for what a person can mend."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.utils import env_override
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf.errors import OmegaConfBaseException

    from resexp import compose, sweep

    compose.register()
    sweep.register()
    alone: list[sweep.Outcome] = []

    def task(cfg: "DictConfig") -> sweep.Outcome:
        outcome = TASKS[verb](cfg)
        alone[:] = [outcome] if HydraConfig.get().mode == RunMode.RUN else []
        return outcome

    try:
        with env_override({"HYDRA_FULL_ERROR": "1"}):  # exceptions come here whole instead of being printed
            hydra.main(version_base="1.3", config_path=str(compose.conf_dir()), config_name=verb)(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(compose.explain_composition(error)) from error
    for outcome in alone:
        if outcome.error is not None:
            raise outcome.error


def complete(arguments: list[str]) -> None:
    """Answer the shell: verbs here, settings by the Hydra of the verb that is typed, which must not see the verb."""
    name, *typed = os.environ.get("COMP_LINE", "resexp").split(" ")
    if "query=bash" not in arguments:  # install or uninstall
        with_hydra("train")
    elif len(typed) <= 1:
        print(" ".join(verb for verb in VERBS if verb.startswith("".join(typed))))
    elif typed[0] in TASKS:
        os.environ["COMP_LINE"] = " ".join([name, *typed[1:]])
        with_hydra(typed[0])


class Console(logging.Handler):
    """Messages on stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        if "tqdm" in sys.modules:
            from tqdm import tqdm

            tqdm.write(self.format(record), file=sys.stderr)
        else:
            print(self.format(record), file=sys.stderr)


def dispatch(arguments: list[str]) -> int:
    """Run one command line; its exit status."""
    verb = arguments[0] if arguments else "--help"
    if verb in ("--help", "-h", "help"):
        print(HELP.format(verbs="\n".join(f"  {name:<10}{what}" for name, what in VERBS.items())))
    elif verb == "--version":
        print(f"resexp {__version__}")
    elif verb in ("-sc", "--shell-completion"):
        complete(arguments)
    elif verb == "models":
        print_models()
    elif verb in TASKS:
        sys.argv = [sys.argv[0], *arguments[1:]]
        with_hydra(verb)
    else:
        raise UserError(f"{verb}: no such verb; choose {', '.join(VERBS)}")
    return 0


def main() -> None:
    """Entry point of the command: one line for what a person can mend, a traceback for our own mistakes."""
    console = Console(logging.INFO)
    log.addHandler(console)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    debug = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        status = dispatch(sys.argv[1:])
    except UserError as error:
        if debug:
            raise
        print(f"resexp: {error}", file=sys.stderr)
        status = 1
    except Interrupted as stop:
        status = stop.status
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status)

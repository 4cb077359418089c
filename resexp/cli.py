"""`resexp VERB ...`: the verb picks a task and its root configuration, Hydra does the rest."""

import os
import re
import shlex
import sys
from contextlib import nullcontext, redirect_stdout, suppress
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from resexp import __version__
from resexp.errors import BrokenProcess, Interrupted, UserError, first_line
from resexp.formatting import printable
from resexp.sweep.outcome import Outcome
from resexp.system.logs import log_to_console, set_console
from resexp.system.memory import no_collection
from resexp.system.streams import lead_nowhere, prepare_streams

if TYPE_CHECKING:
    from omegaconf import DictConfig

ENVIRONMENT = {"GOMP_SPINCOUNT": "10000"}
"""Set before torch is loaded, unless the user has set it.

OpenMP's threads wait for each other by spinning, by default for long. Beside other work on the machine they then mostly
wait for threads that have no core. With this many turns two threads train a small network 3 times faster where a
neighbour uses one of two cores, and two runs of two threads each 1.5 times. Alone on its cores a run loses nothing by
it, and a seventh where a hypervisor takes cores away at times; without any spinning it would lose two thirds.
"""

LOOK = {
    "train": "train a network, or with -m a sweep of them:  resexp train model=resnet56",
    "status": "how far each run is, and how long it will take:  resexp status",
    "report": "figures, tables and a page from finished runs:  resexp report runs=runs out=report",
    "compare": "what one setting changes:  resexp compare over=recipe.lr",
    "diagnose": "gradients, responses, lesions, construction:  resexp diagnose gradients",
    "evaluate": "errors of trained runs:  resexp evaluate runs=runs/cifar10/paper/resnet56/seed0",
    "check": "is a run normal? beside the committed runs or the paper:  resexp check runs=runs",
    "models": "the networks: layers, parameters, multiply-adds, published error",
}
PUBLISH = {
    "collect": "the small files of finished runs, to be committed:  resexp collect name=figure6",
    "export": "trained weights as small files:  resexp export runs=runs out=results/weights",
}
VERBS = LOOK | PUBLISH
"""Each verb is a module of `resexp.commands` and a root configuration in conf/."""

READING = ("status", "report", "compare", "check", "collect")
"""They end soon, and looking for garbage among the million numbers of many runs takes a fifth of their time."""

SHELL_COMPLETION = ("-sc", "--shell-completion")
"""Hydra's option to complete a command line."""

OPTIONS = {"--cfg": True, "--config-dir": True, "--help": False, "--multirun": False}
"""Those of Hydra that are offered, and whether a value follows."""

HELP = """resexp: train plain and residual networks on CIFAR-10 and see whether depth hurts them.

Usage: resexp VERB [setting=value ...]

Train and look:
{look}

Publish:
{publish}

  resexp VERB --help      the settings of a verb and their values
  resexp train --cfg job  show the settings of a run, train nothing
  resexp --version
Shell completion: eval "$(resexp -sc install=bash)"
First steps without any download: resexp train experiment=quick, then resexp report
"""


def with_hydra(verb: str) -> None:
    """Compose the verb's configuration from sys.argv and run its task. Raises UserError for what a user can mend."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.utils import env_override
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf.errors import OmegaConfBaseException

    from resexp.config import compose
    from resexp.config.presets import conf_dir
    from resexp.sweep import sweeper

    compose.register()
    sweeper.register()
    try:
        Path.cwd()
    except OSError as error:
        raise UserError("the working directory is no longer there; change to another folder") from error
    alone: list[Outcome] = []

    def task(cfg: "DictConfig") -> Outcome:
        """Errors that a user can mend become outcomes: Hydra would print more than their one line."""
        hydra_cfg = HydraConfig.get()  # of runs that take turns, the first to end takes it away
        mode = hydra_cfg.mode
        set_console(hydra_cfg.runtime.choices["hydra/job_logging"])
        try:
            outcome = import_module(f"resexp.commands.{verb}").task(cfg) or Outcome(verb, "done")
        except (UserError, BrokenPipeError) as error:
            outcome = Outcome(verb, "failed", error)
        alone[:] = [outcome] if mode == RunMode.RUN else []
        return outcome

    if not {*sys.argv[1:2]} & {*SHELL_COMPLETION}:
        sys.argv[1:] = compose.ordered(sys.argv[1:], verb)
    try:
        with env_override({"HYDRA_FULL_ERROR": "1"}):  # exceptions come here whole instead of being printed
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=verb)(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(compose.explain_composition(error, verb)) from error
    except Exception as error:
        if not compose.is_composing(error):
            raise
        line = f"{' '.join(sys.argv[1:])}: Hydra cannot read that ({first_line(error)}); NAME=VALUE sets one"
        raise UserError(line) from error
    for outcome in alone:
        if outcome.error is not None:
            raise outcome.error


def as_settings(verb: str, words: list[str]) -> list[str]:
    """The words after a verb: of `diagnose gradients` the second is a setting."""
    if verb == "diagnose" and words and re.fullmatch(r"\w+", words[0]):
        return [f"what={words[0]}", *words[1:]]
    return words


def choices_typed(typed: str) -> list[str]:
    """The choices in a line, which change what else can be set; Hydra will know the folders that it names."""
    from resexp.config import compose

    try:
        options, unknown = compose.options_of(shlex.split(typed))
        words = [*options.overrides, *unknown]
        compose.own_dirs(options.config_dir, words)
    except (UserError, ValueError):  # half of a line; the whole will be answered
        return []
    sys.argv += ["--config-dir", options.config_dir] if options.config_dir else []
    return [word for word in words if re.fullmatch(r"\w+=[\w-]+", word)]


def complete(arguments: list[str]) -> None:
    """Complete a command line: verbs here, settings by Hydra, which must not see the verb."""
    name, *typed = os.environ.get("COMP_LINE", "resexp").split(" ")
    if len(arguments) != 2 or not re.fullmatch(r"(install|uninstall|query)=\w+", arguments[1]):
        raise UserError('-sc: eval "$(resexp -sc install=bash)" turns completion on, uninstall=bash off')
    if "query=bash" not in arguments:  # install or uninstall
        with_hydra("train")
    elif len(typed) <= 1:
        print(" ".join(verb for verb in VERBS if verb.startswith("".join(typed))))
    elif typed[-1].startswith("-"):
        known = (option for option in OPTIONS if typed[0] == "train" or option != "--multirun")
        print(" ".join(option for option in known if option.startswith(typed[-1])))
    elif typed[0] in VERBS and not OPTIONS.get(typed[-2]):
        before = choices_typed(" ".join(typed[1:-1])) if typed[0] == "train" else []
        os.environ["COMP_LINE"] = " ".join([name, *before, typed[-1]])
        with redirect_stdout(StringIO()) as offered:
            with_hydra(typed[0])
        words = offered.getvalue().split()
        if typed[0] != "train":  # Hydra offers every folder of conf/ to every verb
            known = {name.partition(".")[0] for name in import_module("resexp.config.presets").settings_named(typed[0])}
            words = [word for word in dict.fromkeys(words) if re.split(r"[.=]", word)[0] in known]
        if typed[0] == "diagnose" and len(typed) == 2:
            diagnoses = import_module("resexp.diagnose.table").DIAGNOSES
            words += [word for word in diagnoses if word.startswith(typed[1])]
        print(" ".join(words))


def dispatch(arguments: list[str]) -> int:
    """Run one command line; its exit status."""
    verb = arguments[0] if arguments else "--help"
    if verb in ("--help", "-h", "help"):
        lists = ("\n".join(f"  {name:<10}{what}" for name, what in verbs.items()) for verbs in (LOOK, PUBLISH))
        print(HELP.format(**dict(zip(("look", "publish"), lists, strict=True))))
    elif "--version" in arguments:
        print(f"resexp {__version__}")
    elif verb in SHELL_COMPLETION:
        complete(arguments)
    elif verb in VERBS and {"--help", "-h"} & {*arguments[1:]}:
        print(import_module("resexp.config.compose").help_for(arguments[1:], verb))
    elif verb in VERBS and {*SHELL_COMPLETION} & {*arguments[1:]}:
        raise UserError('-sc: stands alone; eval "$(resexp -sc install=bash)" completes the settings of every verb')
    elif verb in VERBS:
        sys.argv = [sys.argv[0], *as_settings(verb, arguments[1:])]
        with no_collection() if verb in READING else nullcontext():
            with_hydra(verb)
    else:
        raise UserError(f"{verb}: no such verb; choose {', '.join(VERBS)}")
    return 0


def main() -> None:
    """Entry point of the command: one line for what a user can mend, a traceback for our own bugs."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    prepare_streams()
    log_to_console()
    debug = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        status = dispatch(sys.argv[1:])
        sys.stdout.flush()
    except (UserError, BrokenProcess) as error:
        if debug:
            raise
        with suppress(OSError):
            print(f"resexp: {printable(str(error))}", file=sys.stderr, flush=True)
        status = 1
    except Interrupted as stop:
        status = stop.status
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        status = 141
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (UserError, OSError):
            lead_nowhere(stream)
    sys.exit(status)

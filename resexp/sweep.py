"""Hydra's sweeper, with what a study needs of it: all settings checked first, and one table at the end."""

import json
import os
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf, open_dict

from resexp.compose import SWEEPER, to_config
from resexp.count import multiply_adds
from resexp.errors import Busy, UserError
from resexp.progress import Position
from resexp.run import Run

Plugins.instance()
# Only now: Hydra's scan for plugins executes their modules once more, and a class imported before is then another one.
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # noqa: E402

COSTS = "RESEXP_SWEEP_COSTS"
"""Environment variable that tells a run what each run of its sweep costs, in multiply-adds, as JSON."""


@dataclass(frozen=True)
class Outcome:
    """What became of one run or task: a few words, and the error if it was not done."""

    run: str
    words: str
    error: UserError | None = None

    def __str__(self) -> str:
        return f"{self.run}  {self.words}" + (f": {self.error}" if self.error else "")


class StudySweeper(BasicSweeper):
    """`BasicSweeper` that checks the rules of every run before the first is trained, and reports on all of them."""

    def validate_batch_is_legal(self, batch: Any) -> None:
        """Compose and check every run of the sweep. Raises UserError for the first broken rule."""
        super().validate_batch_is_legal(batch)
        assert self.config is not None
        assert self.hydra_context is not None
        directories: dict[Path, list[str]] = {}
        costs: list[int] = []
        for overrides in batch:
            cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(cfg):
                del cfg["hydra"]
            config = to_config(cfg)
            images = config.recipe.iterations * config.recipe.batch_size
            costs.append(0 if Run(config.directory).is_finished() else multiply_adds(config.model) * images)
            directories.setdefault(config.directory, []).append(asked(overrides))
        for directory, same in directories.items():
            if len(same) > 1:
                raise UserError(f"a sweep names the same run twice ({directory}): {' and '.join(same)}")
        os.environ[COSTS] = json.dumps(costs)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep. Raises UserError if a run of it failed, after the table."""
        assert self.config is not None
        with tempfile.TemporaryDirectory(prefix="resexp-") as scratch:
            OmegaConf.update(self.config, "hydra.sweep.dir", scratch)
            try:
                batches: list[list[JobReturn]] = super().sweep([*arguments, f"hydra.sweep.dir='{scratch}'"])
            finally:
                os.environ.pop(COSTS, None)
        returns = [one for batch in batches for one in batch]
        if not returns:
            raise UserError("the sweep holds no run; does a glob match nothing?")
        outcomes = [outcome_of(one) for one in returns]
        print(table(outcomes), file=sys.stderr)
        failed = sum(outcome.error is not None and not isinstance(outcome.error, Busy) for outcome in outcomes)
        if failed:
            raise UserError(f"{failed} of {len(returns)} runs failed; the same command tries them again")
        return batches


def asked(overrides: Iterable[str]) -> str:
    """The overrides of a run that a person gave."""
    return " ".join(override for override in overrides if not override.startswith("hydra."))


def position(number: int) -> Position:
    """The place of the run with this number in the sweep that this process is part of."""
    costs: list[int] = json.loads(os.environ.get(COSTS, "[]"))
    if not costs:
        return Position()
    return Position(f"{number + 1} of {len(costs)}: ", sum(costs[number + 1 :]) / max(costs[number], 1))


def outcome_of(one: JobReturn) -> Outcome:
    """What became of a run, also if it ended by a mistake of ours."""
    if one.status == JobStatus.COMPLETED:
        return one.return_value
    error = one._return_value  # the property raises it
    return Outcome(asked(one.overrides or []), "failed", UserError(f"{type(error).__name__}: {error}"))


def table(outcomes: list[Outcome]) -> str:
    """One line a run: which it is, and what became of it."""
    width = max(len(outcome.run) for outcome in outcomes)
    return "\n".join(str(replace(outcome, run=f"{outcome.run:<{width}}")) for outcome in outcomes)


def register() -> None:
    """Let Hydra find the sweeper that conf/train.yaml names."""
    Plugins.instance().class_name_to_class[SWEEPER] = StudySweeper

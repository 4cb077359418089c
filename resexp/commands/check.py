"""`resexp check`: is my run normal? Without torch."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from resexp.analysis.check import Judgement, check, own_path
from resexp.analysis.study import Study, existing_runs, load_study
from resexp.config.compose import settings_of
from resexp.config.presets import conf_dir
from resexp.config.settings import Chosen
from resexp.errors import UserError
from resexp.formatting import wrapped
from resexp.printing import printing, warn

log = logging.getLogger("resexp")

NOTE = "\nTraining error: the mean over the sixteenth of all iterations that ends there."


@dataclass
class CheckSettings(Chosen):
    """Root of `resexp check`."""

    runs: str
    reference: str | None
    json: bool


def task(cfg: DictConfig) -> None:
    """`resexp check`: judge every run of a folder. Raises UserError where there is none, or one is outside."""
    settings = settings_of(cfg, CheckSettings)
    runs = Path(settings.runs)
    study = existing_runs(runs)
    chosen = {run.path for run in study.chosen(settings)}
    folder = Path(settings.reference) if settings.reference else conf_dir().parent / "results"
    itself = folder.exists() and folder.samefile(runs)
    references = study if itself else load_references(folder, settings.reference is not None)
    warn(dict.fromkeys(study.problems + study.other_precisions(runs) + references.problems))
    judgements = [
        judgement
        for group in study.groups
        for network in group.networks
        if (own := [run for run in network.runs if run.path in chosen])
        for judgement in check(own, references, lambda run: own_path(run, runs, folder))
    ]
    with printing(settings.json) as show:
        for judgement in judgements:
            name, *said = lines(judgement, runs)
            show("\n".join([name, *map(wrapped, said)]), record(judgement))
        if any(judgement.comparisons for judgement in judgements):
            show(NOTE)
    outside = sum(bool(judgement.outside) for judgement in judgements)
    if outside:
        raise UserError(f"{outside} of {len(judgements)} runs outside of what is normal")


def load_references(folder: Path, named: bool) -> Study:
    """The reference runs; none where an installation has no results. Raises UserError where a folder was `named`."""
    references = load_study(folder)
    if not references.groups:
        remedy = "reference=PATH takes the results/ folder of a checkout"
        if named:
            raise UserError(f"reference={folder}: no runs there; {remedy}")
        log.warning("no reference runs come with this installation; %s", remedy)
    return references


def word(judgement: Judgement) -> str:
    """normal, OUTSIDE or cannot be judged."""
    known = judgement.copy or judgement.comparisons
    return "OUTSIDE" if judgement.outside else "normal" if known else "cannot be judged"


def record(judgement: Judgement) -> dict[str, Any]:
    """One run for programs; errors are fractions."""
    compared = [
        {**{"error": one.kind, "iteration": one.iteration, "value": one.error}, "expected": one.expected}
        for one in judgement.comparisons
    ]
    run = {"run": judgement.run.path, "state": judgement.run.state, "iteration": judgement.run.at}
    said = {"judgement": word(judgement).lower(), "basis": judgement.basis, "differences": judgement.differences}
    return {**run, **said, "compared": compared}


def lines(judgement: Judgement, runs: Path) -> list[str]:
    """What is printed about one run: training error after 4,000 iterations 23.10%, expected 18.20 to 20.40%."""
    run, count, outside = judgement.run, len(judgement.comparisons), judgement.outside
    compared = f", {count - len(outside)} of {count} values inside" if count else ""
    text = [
        f"{(runs / run.path).as_posix()}: {word(judgement)}{compared}",
        f"  {'compared with ' if count else ''}{judgement.basis}",
    ]
    for one in outside:
        low, high = (100 * end for end in one.expected)
        error = f"{one.kind} error after {one.iteration:,} iterations {100 * one.error:.2f}%"
        text.append(f"  {error}, expected {low:.2f} to {high:.2f}%")
    if judgement.differences:
        text.append(f"  not the same: {', '.join(judgement.differences)}")
    if not run.finished:
        text.append(f"  {run.progress}")
    return text

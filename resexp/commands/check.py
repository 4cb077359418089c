"""`resexp check`: is my run normal? Without torch."""

import logging
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from resexp.analysis.check import Comparison, Judgement, check, own_path
from resexp.analysis.study import Study, load_study
from resexp.config.compose import settings_of
from resexp.config.presets import conf_dir
from resexp.errors import UserError
from resexp.storage.run import no_runs

log = logging.getLogger("resexp")

NOTE = "\nTraining error: the mean over the sixteenth of all iterations that ends there."


@dataclass
class CheckSettings:
    """Root of `resexp check`."""

    runs: str
    reference: str | None


def task(cfg: DictConfig) -> None:
    """`resexp check`: judge every run of a folder. Raises UserError where there is none, or one is outside."""
    settings = settings_of(cfg, CheckSettings)
    runs = Path(settings.runs)
    study = load_study(runs)
    if not study.runs:
        raise no_runs(runs, "".join(f"; {problem}" for problem in study.problems[:1]))
    folder = Path(settings.reference) if settings.reference else conf_dir().parent / "results"
    references = load_references(folder, settings.reference is not None)
    for problem in dict.fromkeys(study.problems + references.problems):
        log.warning("%s", problem)
    findings = [check(run, references, own_path(run, runs, folder)) for run in study.runs]
    print("\n".join(line for finding in findings for line in lines(finding, runs)))
    if any(finding.comparisons for finding in findings):
        print(NOTE)
    outside = sum(bool(finding.outside) for finding in findings)
    if outside:
        raise UserError(f"{outside} of {len(findings)} runs outside of what is normal")


def load_references(folder: Path, named: bool) -> Study:
    """The reference runs; none where an installation has no results. Raises UserError where a folder was `named`."""
    references = load_study(folder)
    if not references.groups:
        remedy = "reference=PATH takes the results/ folder of a checkout"
        if named:
            raise UserError(f"reference={folder}: no runs there; {remedy}")
        log.warning("no reference runs come with this installation; %s", remedy)
    return references


def lines(finding: Judgement, runs: Path) -> list[str]:
    """What is said of one run."""
    run = finding.run
    name = (runs / run.path).as_posix()
    if not finding.judged:
        said = [f"{name}: cannot be judged: {finding.basis}"]
    elif finding.copy:
        said = [f"{name}: normal", f"  {finding.basis}"]
    else:
        n, outside = len(finding.comparisons), finding.outside
        inside = f"{n - len(outside)} of {n} values inside"
        said = [f"{name}: {'OUTSIDE' if outside else 'normal'}, {inside}", f"  compared with {finding.basis}"]
        said += [f"  {comparison_words(one)}" for one in outside]
    if finding.differences:
        said.append(f"  not the same: {', '.join(finding.differences)}")
    if run.state != "finished":
        said.append(f"  {run.progress}")
    return said


def comparison_words(one: Comparison) -> str:
    """training error after 4,000 iterations 23.10%, expected 18.20 to 20.40%."""
    low, high = (100 * end for end in one.expected)
    return (
        f"{one.kind} error after {one.iteration:,} iterations {100 * one.error:.2f}%, expected {low:.2f} to {high:.2f}%"
    )

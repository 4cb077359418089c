"""`resexp compare`: what one setting changes, as tables and figures, without torch."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from resexp.analysis.compare import compare as over_one
from resexp.analysis.compare import comparisons, offered
from resexp.analysis.study import existing_runs
from resexp.config.compose import settings_of
from resexp.config.settings import require
from resexp.errors import UserError
from resexp.printing import printing, warn
from resexp.report.report import listed_files, write_comparisons


@dataclass
class CompareSettings:
    """Root of `resexp compare`."""

    runs: str
    over: list[str] | None
    out: str
    verbose: bool
    json: bool

    def __post_init__(self) -> None:
        for one in self.over or []:
            require(type(one) is str, "over", one, "names of settings, such as recipe.lr,precision")


def task(cfg: DictConfig) -> None:
    """`resexp compare`: write figures, tables and CSV; print tables. Raises UserError for what cannot be compared."""
    settings = settings_of(cfg, CompareSettings)
    study = existing_runs(Path(settings.runs))
    warn(study.problems)
    found = [over_one(study, one) for one in dict.fromkeys(settings.over)] if settings.over else comparisons(study)
    if not found:
        remedy = offered(study)
        raise UserError(f"runs={settings.runs}: no finished runs differ in one setting alone, depth aside; {remedy}")
    report = write_comparisons(found, Path(settings.out))
    with printing(settings.json) as show:
        show("\n".join(report.sections), *report.records)
        show(listed_files(report.files, settings.verbose))

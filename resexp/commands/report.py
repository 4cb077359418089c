"""`resexp report`: figures, tables and a page from a folder of runs, without torch."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from resexp.config.compose import settings_of
from resexp.config.settings import check_margin
from resexp.printing import printing, warn
from resexp.report.report import listed_files, write_report


@dataclass
class ReportSettings:
    """Root of `resexp report`. `margin` is in percentage points."""

    runs: str
    out: str
    margin: float
    paper_points: bool
    verbose: bool
    json: bool

    def __post_init__(self) -> None:
        check_margin(self.margin)


def task(cfg: DictConfig) -> None:
    """`resexp report`: write the report; print verdicts and tables of networks. Raises UserError for wrong settings."""
    settings = settings_of(cfg, ReportSettings)
    with printing(settings.json) as show:
        report = write_report(Path(settings.runs), Path(settings.out), settings.margin / 100, settings.paper_points)
        warn(report.problems)
        show("\n".join([*report.sections, *report.why] if settings.verbose else report.sections), *report.records)
        show(listed_files(report.files, settings.verbose))

"""`resexp collect`: the small files of finished runs, to where they are committed. Without torch."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from resexp.analysis.study import load_study
from resexp.config.compose import settings_of
from resexp.config.settings import check_margin, require
from resexp.formatting import plural
from resexp.printing import printing, warn
from resexp.publish import readme
from resexp.publish.collect import SUMMARY, collect, summary
from resexp.system.files import write_text, writing_to

log = logging.getLogger("resexp")

TAKEN = ("figures", "weights", "bench")
"""Folders of results that hold something other than runs."""


@dataclass
class CollectSettings:
    """Root of `resexp collect`. `margin` is in percentage points."""

    runs: str
    out: str
    name: str
    margin: float
    checkpoints: str | None
    json: bool

    def __post_init__(self) -> None:
        plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", self.name) is not None
        require(plain and self.name not in TAKEN, "name", self.name, "a folder's name, such as figure6")
        check_margin(self.margin)


def task(cfg: DictConfig) -> None:
    """`resexp collect`: copy, then renew summary.csv and README.md. Raises UserError for what cannot be collected."""
    settings = settings_of(cfg, CollectSettings)
    out = Path(settings.out)
    around = readme.around(out)
    readme.notes(out)  # refused before anything is copied, as all that README.md cannot be made from
    collected = collect(Path(settings.runs), out / settings.name)
    with writing_to("out"):
        if settings.checkpoints is not None:
            write_text(out / settings.name / readme.CHECKPOINTS, settings.checkpoints.strip() + "\n")
        study = load_study(out)
        write_text(out / SUMMARY, summary(study))
        readme.write(out, *around, settings.margin / 100)
    warn(collected.problems + study.problems)
    if collected.there:
        log.info("%s collected before", plural(len(collected.there), "run"))
    if collected.unfinished:
        log.info("%s left out, not finished", plural(collected.unfinished, "run"))
    runs = sorted([*collected.copied, *collected.there])
    with printing(settings.json) as show:
        show(
            "\n".join(str(path) for path in [*collected.copied, out / SUMMARY, out / "README.md"]),
            *({"run": run, "copied": run in collected.copied} for run in runs),
        )

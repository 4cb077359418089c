"""`resexp collect`: the small files of finished runs, to where they are committed. Without torch."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from resexp.config.compose import settings_of
from resexp.config.settings import require
from resexp.formatting import plural
from resexp.publish import readme
from resexp.publish.collect import SUMMARY, collect, summary
from resexp.system.files import write_text

log = logging.getLogger("resexp")

TAKEN = ("figures", "weights", "bench")
"""Folders of results that hold something else than runs."""


@dataclass
class CollectSettings:
    """Root of `resexp collect`."""

    runs: str
    out: str
    name: str
    margin: float
    checkpoints: str | None

    def __post_init__(self) -> None:
        plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", self.name) is not None
        require(plain and self.name not in TAKEN, "name", self.name, "a folder's name, such as figure6")
        require(0 <= self.margin <= 100, "margin", self.margin, "percentage points from 0 to 100")


def task(cfg: DictConfig) -> None:
    """`resexp collect`: copy, then renew summary.csv and README.md. Raises UserError for what cannot be collected."""
    settings = settings_of(cfg, CollectSettings)
    out = Path(settings.out)
    found = collect(Path(settings.runs), out / settings.name)
    if settings.checkpoints is not None:
        write_text(out / settings.name / readme.CHECKPOINTS, settings.checkpoints.strip() + "\n")
    write_text(out / SUMMARY, summary(out))
    write_text(out / "README.md", readme.write(out, settings.margin / 100))
    for problem in found.problems:
        log.warning("%s", problem)
    if found.there:
        log.info("%s collected before", plural(len(found.there), "run"))
    if found.left_out:
        log.info("%s left out, not finished", plural(len(found.left_out), "run"))
    print("\n".join(str(path) for path in [*found.copied, out / SUMMARY, out / "README.md"]))

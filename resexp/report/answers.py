"""What the runs of a group answer: the verdict, what the diagnoses show, and what became of each claim."""

from dataclasses import dataclass
from pathlib import Path

from resexp.analysis.claims import NOT_TESTED, Claim, claims
from resexp.analysis.study import Group
from resexp.analysis.verdict import Verdict, judge
from resexp.analysis.wording import bottom_line, sentence
from resexp.report.why.findings import findings, skipping
from resexp.report.why.profiles import Finding
from resexp.system.files import reading

REMARKS = "remarks.txt"
"""A file beside a group's networks, DATA/RECIPE/remarks.txt: what people should know who read its verdict."""


@dataclass(frozen=True)
class Answers:
    """All of it, for the page and for the README of collected results."""

    verdict: Verdict
    bottom_line: str
    """The answer in plain words; empty where nothing can be compared."""
    sentence: str
    """The verdict in words."""
    remarks: str
    """What people have written about these runs; empty where nobody has."""
    findings: dict[str, Finding]
    claims: list[Claim]
    csv: dict[str, bytes]
    """What was measured inside the networks and still holds, a file for each diagnosis."""
    problems: list[str]
    """A line for all that could not be used."""

    @property
    def tested(self) -> list[Claim]:
        """The claims that were."""
        return [claim for claim in self.claims if claim.outcome != NOT_TESTED]


def answers(group: Group, groups: list[Group], runs: Path, margin: float) -> Answers:
    """Judge one of the groups of the runs in a folder; `margin` is a fraction.

    Raises UserError where remarks about them cannot be read.
    """
    verdict = judge(group, margin)
    found, csv, problems = findings(group, runs)
    of_diagnoses = [claim for finding in found.values() for claim in finding.claims]
    judged = claims(group, verdict, of_diagnoses + skipping(group, groups, runs))
    said = bottom_line(verdict), sentence(group, verdict), remarks(group, runs)
    return Answers(verdict, *said, found, judged, csv, problems)


def remarks(group: Group, runs: Path) -> str:
    """What stands in remarks.txt beside the networks of a group, one folder after the other."""
    of_group = (run.path for network in group.networks for run in network.runs)
    files = dict.fromkeys((runs / path).parents[1] / REMARKS for path in sorted(of_group))
    texts: list[str] = []
    for file in files:
        if file.exists():
            with reading(file):
                texts += file.read_text(encoding="utf-8", errors="replace").split()
    return " ".join(texts)

"""What the runs of a group answer: the verdict, what the diagnoses show, and what became of each claim."""

from dataclasses import dataclass
from pathlib import Path

from resexp.analysis.claims import Claim, claims
from resexp.analysis.study import Group
from resexp.analysis.verdict import Verdict, judge
from resexp.analysis.wording import sentence
from resexp.report.why.findings import findings
from resexp.report.why.profiles import Finding


@dataclass(frozen=True)
class Answers:
    """All of it, for the page and for the README of collected results."""

    verdict: Verdict
    sentence: str
    """The verdict in words."""
    findings: dict[str, Finding]
    claims: list[Claim]
    csv: dict[str, bytes]
    """What was measured inside the networks and still holds, a file for each diagnosis."""
    problems: list[str]
    """A line for all that could not be used."""


def answers(group: Group, runs: Path, margin: float) -> Answers:
    """Judge a group of the runs in a folder; `margin` is a fraction."""
    verdict = judge(group, margin)
    found, csv, problems = findings(group, runs)
    judged = claims(group, verdict, [claim for finding in found.values() for claim in finding.claims])
    return Answers(verdict, sentence(group, verdict), found, judged, csv, problems)

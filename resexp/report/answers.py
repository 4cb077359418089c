"""What the runs of a group answer: the verdict, what the diagnoses show, and what became of each claim."""

from dataclasses import dataclass
from pathlib import Path

from resexp.analysis.claims import NOT_TESTED, Claim, claims
from resexp.analysis.study import Group
from resexp.analysis.verdict import Verdict, judge
from resexp.analysis.wording import bottom_line, sentence
from resexp.report.why.findings import findings, skipping
from resexp.report.why.profiles import Finding

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
    """Judge one of the groups of the runs in a folder; `margin` is a fraction."""
    verdict = judge(group, margin)
    found, csv, problems = findings(group, runs)
    of_diagnoses = [claim for finding in found.values() for claim in finding.claims]
    judged = claims(group, verdict, of_diagnoses + skipping(group, groups, runs))
    words, unread = remarks(group, runs)
    said = bottom_line(verdict), sentence(group, verdict), words
    return Answers(verdict, *said, found, judged, csv, problems + unread)


def remarks(group: Group, runs: Path) -> tuple[str, list[str]]:
    """What stands in remarks.txt beside the networks of a group, and a line for each that cannot be read."""
    places = [(runs / run.path).resolve().parent.parent for network in group.networks for run in network.runs]
    folders = {place for place in places if place.parts[-2:] == (group.data, group.recipe)}
    words: list[str] = []
    problems: list[str] = []
    for file in sorted(folder / REMARKS for folder in folders):
        try:
            words += file.read_text(encoding="utf-8-sig").split()
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text in UTF-8"
            problems.append(f"{file}: {reason}; it is left out")
    return " ".join(words), problems

"""Are the responses of residual networks smaller, and smaller still in deeper ones? The paper's figure 7."""

import statistics
from dataclasses import dataclass
from itertools import pairwise

from resexp.analysis.claims import SMALLER, SMALLER_STILL, Claim, Look, looked_into, outcome_of
from resexp.analysis.study import Group, title
from resexp.diagnose.table import PLAIN, RESIDUAL, Measured
from resexp.formatting import listed, plural
from resexp.report.spec import Axis, Panel, Plate
from resexp.report.why.profiles import (
    STAGES,
    Finding,
    absent,
    by_network,
    caption,
    curve,
    is_plain,
    linear_axis,
    number,
    place_axis,
    profile,
)

ALIKE = 0.05
"""Mean responses that differ by no more than this part are called about as large."""


def strengths(measured: Measured) -> dict[str, dict[int, float]]:
    """For each network and seed the mean over layers of the responses' standard deviations."""
    return {
        network: {subject.seed: statistics.fmean(profile(measured, subject, "response")) for subject in subjects}
        for network, subjects in by_network(list(measured)).items()
    }


def find(group: Group, measured: Measured) -> Finding | None:
    """Figure and sentence; None where nothing was measured."""
    networks = by_network(list(measured))
    if not networks:
        return None
    panels: list[Panel] = []
    for heading, in_order in (("in the order of layers", True), ("sorted by size", False)):
        curves = []
        for network, subjects in networks.items():
            profiles = [profile(measured, subject, "response") for subject in subjects]
            if not in_order:
                profiles = [sorted(values, reverse=True) for values in profiles]
            curves.append(curve(network, title(network), profiles, dashed=is_plain(subjects)))
        ends = ", ".join(f"{title(one.network)} {number(one.end)}" for one in curves)
        panels.append(
            Panel(
                f"Responses {heading}",
                curves,
                place_axis("3x3 layer") if in_order else Axis(0, 1, [(0, "largest"), (1, "smallest")], "3x3 layer"),
                linear_axis(curves),
                f"Standard deviation of responses, {heading}; the curves end at {ends}.",
                STAGES if in_order else [],
            )
        )
    explained = (
        " Standard deviation of each 3x3 layer's response after batch norm, before the ReLU or the addition, over "
        f"images, channels and places, in evaluation mode; means within {100 * ALIKE:g}% are called about as large. "
        "Dashed: plain; solid: residual."
    )
    words = caption(group, measured) + explained + absent(group, measured)
    plate = Plate("responses", "How strongly layers respond", panels, words)
    return Finding(plate, sentence(measured), claimed(group, measured))


@dataclass(frozen=True)
class Pair:
    """Two networks compared over the seeds that both have: `ones` and `others` are mean responses by seed."""

    one: str
    other: str
    ones: list[float]
    others: list[float]

    @property
    def ratio(self) -> float:
        """One's mean response as a multiple of the other's."""
        return statistics.fmean(self.ones) / statistics.fmean(self.others)

    @property
    def look(self) -> Look:
        """Whether one's are smaller, by more than counts as alike."""
        return Look(self.ratio < 1 - ALIKE, len(self.ones))

    @property
    def number(self) -> str:
        """ResNet-56 0.80 times plain-56 (1 seed)."""
        return f"{title(self.one)} {self.ratio:.2f} times {title(self.other)} ({plural(len(self.ones), 'seed')})"

    @property
    def words(self) -> str:
        """Whether one's are smaller, and in how many of the seeds."""
        if abs(self.ratio - 1) <= ALIKE:
            return f"Those of {title(self.one)} are about as large as those of {title(self.other)}"
        kind, smaller = ("smaller", True) if self.ratio < 1 else ("larger", False)
        agreeing = sum((one < other) == smaller for one, other in zip(self.ones, self.others, strict=True))
        seeds = f" (in {agreeing} of {len(self.ones)} shared seeds)" if len(self.ones) > 1 else ""
        return f"Those of {title(self.one)} are {kind} than those of {title(self.other)}{seeds}"


def pairs_of(measured: Measured, names: list[tuple[str, str]]) -> list[Pair]:
    """Those of the named pairs that share a seed."""
    found = strengths(measured)
    pairs: list[Pair] = []
    for one, other in names:
        shared = sorted(found[one].keys() & found[other].keys())
        if shared:
            ones, others = ([found[name][seed] for seed in shared] for name in (one, other))
            pairs.append(Pair(one, other, ones, others))
    return pairs


def claimed(group: Group, measured: Measured) -> list[Claim]:
    """What becomes of the paper's claims on responses: every pair of networks tells."""
    looks = {SMALLER: same_depth(measured), SMALLER_STILL: deeper(measured, RESIDUAL)}
    return [
        looked_into(group, text, outcome_of([pair.look for pair in pairs]), "; ".join(pair.number for pair in pairs))
        for text, pairs in looks.items()
    ]


def same_depth(measured: Measured) -> list[Pair]:
    """Residual against plain networks of one depth."""
    first = {name: subjects[0] for name, subjects in by_network(list(measured)).items()}
    names = [
        (residual, plain)
        for plain, one in first.items()
        for residual, other in first.items()
        if one.family == PLAIN and other.family == RESIDUAL and one.depth == other.depth
    ]
    return pairs_of(measured, names)


def deeper(measured: Measured, family: str) -> list[Pair]:
    """Each network of a family against the next shallower one."""
    first = {name: subjects[0] for name, subjects in by_network(list(measured)).items()}
    own = [name for name, subject in first.items() if subject.family == family]
    names = [(deep, shallow) for shallow, deep in pairwise(own) if first[shallow].depth < first[deep].depth]
    return pairs_of(measured, names)


def sentence(measured: Measured) -> str:
    """The mean responses, residual against plain of the same depth, and deeper against shallower."""
    values = [f"{title(name)} {statistics.fmean(seeds.values()):.3g}" for name, seeds in strengths(measured).items()]
    said = [f"Standard deviation of the responses, mean over layers: {listed(values)}."]
    said += [f"{pair.words} at the same depth." for pair in same_depth(measured)]
    for family in (PLAIN, RESIDUAL):
        said += [f"{pair.words}, the shallower one." for pair in deeper(measured, family)]
    return " ".join(said)

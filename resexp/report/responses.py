"""Are the responses of residual networks smaller, and smaller still in deeper ones? The paper's figure 7."""

import statistics
from itertools import pairwise

from resexp.claims import SMALLER, SMALLER_STILL, Claim, looked_into
from resexp.diagnose.table import PLAIN, RESIDUAL, Measured
from resexp.report.findings import (
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
from resexp.report.plates import Axis, Panel, Plate
from resexp.study import Group, title
from resexp.wording import listed, plural

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
        "images, channels and places, in evaluation mode. Dashed: plain; solid: residual."
    )
    words = caption(group, measured) + explained + absent(group, measured)
    plate = Plate("responses", "How strongly layers respond", panels, words)
    return Finding(plate, sentence(measured), claimed(measured))


def claimed(measured: Measured) -> list[Claim]:
    """What becomes of the paper's claims on responses: every pair of networks tells."""
    found = strengths(measured)
    looks = {SMALLER: _same_depth(measured), SMALLER_STILL: _deeper(measured, RESIDUAL)}
    return [
        looked_into(
            text,
            [_ratio(found, *pair) < 1 - ALIKE for pair in pairs],
            "; ".join(
                f"{title(one)} {_ratio(found, one, other):.2f} times {title(other)} ({plural(len(found[one]), 'seed')})"
                for one, other in pairs
            ),
        )
        for text, pairs in looks.items()
    ]


def _same_depth(measured: Measured) -> list[tuple[str, str]]:
    """Residual and plain networks of one depth."""
    first = {name: subjects[0] for name, subjects in by_network(list(measured)).items()}
    return [
        (residual, plain)
        for plain, one in first.items()
        for residual, other in first.items()
        if one.family == PLAIN and other.family == RESIDUAL and one.depth == other.depth
    ]


def _deeper(measured: Measured, family: str) -> list[tuple[str, str]]:
    """Each network of a family and the next shallower one."""
    first = {name: subjects[0] for name, subjects in by_network(list(measured)).items()}
    own = [name for name, subject in first.items() if subject.family == family]
    return [(deep, shallow) for shallow, deep in pairwise(own) if first[shallow].depth < first[deep].depth]


def sentence(measured: Measured) -> str:
    """The mean responses, residual against plain of the same depth, and deeper against shallower."""
    found = strengths(measured)
    values = [f"{title(name)} {statistics.fmean(seeds.values()):.3g}" for name, seeds in found.items()]
    said = [f"Standard deviation of the responses, mean over layers: {listed(values)}."]
    said += [f"{_compared(found, *pair)} at the same depth." for pair in _same_depth(measured)]
    for family in (PLAIN, RESIDUAL):
        said += [f"{_compared(found, *pair)}, the shallower one." for pair in _deeper(measured, family)]
    return " ".join(said)


def _ratio(found: dict[str, dict[int, float]], one: str, other: str) -> float:
    return statistics.fmean(found[one].values()) / statistics.fmean(found[other].values())


def _compared(found: dict[str, dict[int, float]], one: str, other: str) -> str:
    """Whether one network's mean response is smaller than another's, and in how many of the seeds that both have."""
    ratio = _ratio(found, one, other)
    if abs(ratio - 1) <= ALIKE:
        return f"Those of {title(one)} are about as large as those of {title(other)}"
    shared = sorted(found[one].keys() & found[other].keys())
    agreeing = sum((found[one][seed] < found[other][seed]) == (ratio < 1) for seed in shared)
    seeds = f" (in {agreeing} of {len(shared)} shared seeds)" if len(shared) > 1 else ""
    return f"Those of {title(one)} are {'smaller' if ratio < 1 else 'larger'} than those of {title(other)}{seeds}"

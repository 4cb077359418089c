"""Are the responses of residual networks smaller, and smaller still in deeper ones? The paper's figure 7."""

import statistics
from typing import Any

from resexp.analysis.claims import LEAST_SEEDS, SMALLER, SMALLER_STILL, Claim, diagnosed, outcome_of
from resexp.analysis.intervals import geometric_interval, geometric_mean
from resexp.analysis.study import Group, title
from resexp.analysis.verdict import UNDECIDED
from resexp.config.settings import differing
from resexp.diagnose.table import PLAIN, RESIDUAL, Measured, Subject
from resexp.formatting import ABSENT, plural
from resexp.report.captions import line_words, setting_words
from resexp.report.spec import Axis, Curve, Panel, Plate, Table
from resexp.report.why.profiles import (
    STAGES,
    Finding,
    absent,
    by_network,
    ends,
    linear_axis,
    measured_words,
    place_axis,
    profile,
    with_mean,
)

ALIKE = 0.05
"""Mean responses that differ by no more than this part are about as large."""

Models = dict[str, dict[str, Any]]
"""Settings by network."""
Ratios = dict[str, tuple[str, dict[int, float]]]
"""For a network the one it is compared with, and by shared seed its mean response as a multiple of the other's."""


def find(group: Group, measured: Measured) -> Finding | None:
    """Figure, sentence and numbers; None where nothing was measured."""
    networks = by_network(measured)
    if not networks:
        return None
    strengths = {
        name: {subject.seed: statistics.fmean(profile(measured, subject, "response")) for subject in subjects}
        for name, subjects in networks.items()
    }
    first = [subjects[0] for subjects in networks.values()]
    models = {network.name: network.model for network in group.networks}
    same = compared(strengths, {one.network: _plain(one, first, models) for one in first if one.family == RESIDUAL})
    shallower = compared(strengths, {one.network: _shallower(one, first, models) for one in first})
    deeper = {name: ratios for name, ratios in shallower.items() if networks[name][0].family == RESIDUAL}
    subjects = {(subject.network, subject.seed): subject for own in networks.values() for subject in own}
    rows: list[list[str]] = []
    for name, seeds in strengths.items():
        plain, _ = same.get(name, ("", None))
        for seed, value in seeds.items():
            row = [title(name), str(seed), f"{value:.3g}", _ratio(name, seed, same)]
            row.append(_in_stages(measured, subjects[name, seed], subjects.get((plain, seed))))
            share = dead_share(measured, subjects[name, seed])
            rows.append([*row, _ratio(name, seed, shallower), ABSENT if share is None else _percent(share)])
    heading = ["network", "seed", "mean response", "times plain of its depth", "in each stage", "times next shallower"]
    dead = dead_words(measured, networks)
    heading, rows = ([*heading, "dead channels"], rows) if dead else (heading, [row[:-1] for row in rows])
    table = Table("Standard deviation of responses, mean over layers", heading, rows)
    claims = [claimed(group, SMALLER, same), claimed(group, SMALLER_STILL, deeper)]
    words = " ".join(filter(None, (sentence(same, deeper), dead)))
    return Finding(_plate(group, measured, networks), words, table, claims)


def dead_share(measured: Measured, subject: Subject) -> float | None:
    """Mean over layers of the share of dead channels; None where it was measured of the stem at most."""
    shares = profile(measured, subject, "dead")
    return statistics.fmean(shares) if len(shares) > 1 else None


def dead_words(measured: Measured, networks: dict[str, list[Subject]]) -> str:
    """In which networks channels are dead, how many, and how many of one layer; empty where that was not measured."""
    parts: list[str] = []
    for name, subjects in networks.items():
        known = {one: share for one in subjects if (share := dead_share(measured, one)) is not None}
        if not known:
            continue
        most = max(max(profile(measured, one, "dead")) for one in known)
        low, high = _percent(min(known.values())), _percent(max(known.values()))
        of_one = f" (of one layer up to {_percent(most)})" if most else ""
        parts.append(f"{title(name)} {low if low == high else f'{low} to {high}'}{of_one}")
    meaning = (
        "channels that ReLU leaves at zero at each place of each image, mean over the layers that go straight into it"
    )
    return f"Dead, {meaning}: {', '.join(parts)}." if parts else ""


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%" if share else "none"


def _plate(group: Group, measured: Measured, networks: dict[str, list[Subject]]) -> Plate:
    """Responses in the order of layers and, as in the paper, by size."""

    def panel(heading: str, x: Axis, by_size: bool) -> Panel:
        curves: list[Curve] = []
        for network, subjects in networks.items():
            profiles = {subject.seed: profile(measured, subject, "response") for subject in subjects}
            if by_size:
                profiles = {seed: sorted(values, reverse=True) for seed, values in profiles.items()}
            dashed = subjects[0].family == PLAIN
            curves.append(with_mean(network, title(network), profiles, statistics.fmean, dashed))
        alt = f"Standard deviation of responses. {ends(curves)}"
        return Panel(heading, curves, x, linear_axis(curves), alt, [] if by_size else STAGES)

    panels = [
        panel("Responses in the order of layers", place_axis("3x3 layer"), False),
        panel("Responses sorted by size", place_axis("rank", "largest", "smallest"), True),
    ]
    key = [
        "Standard deviation of each 3x3 layer's response after batch norm, before the ReLU or the addition, over "
        "images, channels and places, in evaluation mode.",
        "Dashed: plain; solid: residual.",
        line_words(panels),
    ]
    caption = measured_words(measured) + absent(group, measured)
    heading = "How strongly layers respond"
    return Plate("responses", heading, panels, setting_words(group), caption, key)


def _plain(one: Subject, others: list[Subject], models: Models) -> str | None:
    """The plain network of the same depth, and alike but for shortcuts, which it has none of."""
    alike = (
        other.network
        for other in others
        if (other.family, other.depth) == (PLAIN, one.depth)
        and _alike(models, one.network, other.network, "residual", "shortcut", "skip")
    )
    return next(alike, None)


def _shallower(one: Subject, others: list[Subject], models: Models) -> str | None:
    """The next shallower network that is alike."""
    own = [other for other in others if other.depth < one.depth and _alike(models, one.network, other.network)]
    return next((other.network for other in own if other.depth == own[-1].depth), None)


def _alike(models: Models, one: str, other: str, *but: str) -> bool:
    """Whether two networks have the same settings besides name, depth and some more."""
    return not {*differing(models.get(one, {}), models.get(other, {}))} - {"name", "depth", *but}


def compared(strengths: dict[str, dict[int, float]], references: dict[str, str | None]) -> Ratios:
    """Each network against its reference, where they share a seed."""
    ratios: Ratios = {}
    for name, other in references.items():
        shared = strengths[name].keys() & strengths[other].keys() if other else ()
        if other and shared:
            ratios[name] = other, {seed: strengths[name][seed] / strengths[other][seed] for seed in sorted(shared)}
    return ratios


def _ratio(name: str, seed: int, ratios: Ratios) -> str:
    _, values = ratios.get(name, ("", dict[int, float]()))
    return f"{values[seed]:.2f}" if seed in values else ABSENT


def _in_stages(measured: Measured, one: Subject, other: Subject | None) -> str:
    """Its mean response in each of the three stages as a multiple of the other's: 0.40, 0.93, 0.97."""

    def mean(subject: Subject, stage: int) -> float:
        return statistics.fmean(
            reading.value
            for reading in measured[subject]
            if reading.quantity == "response" and reading.name.startswith(f"stages.{stage}.")
        )

    if other is None:
        return ABSENT
    try:
        return ", ".join(f"{mean(one, stage) / mean(other, stage):.2f}" for stage in range(3))
    except statistics.StatisticsError:  # a stage without responses
        return ABSENT


def claimed(group: Group, text: str, ratios: Ratios) -> Claim:
    """What becomes of a claim that responses are smaller: the interval of each network's ratio over seeds decides."""
    smaller: list[bool] = []
    ours: list[str] = []
    for name, (other, values) in ratios.items():
        interval = geometric_interval(list(values.values()))
        sure = ""
        if interval:
            low, high = interval
            sure = f"95% interval {low:.2f} to {high:.2f}, "
            smaller += [False] if low > 1 - ALIKE else [True] if high < 1 else [False, True]
        mean = geometric_mean(values.values())
        ours.append(f"{title(name)} {mean:.2f} times {title(other)} ({sure}{plural(len(values), 'seed')})")
    single = any(len(values) < LEAST_SEEDS for _, values in ratios.values())
    outcome = UNDECIDED if single else outcome_of(smaller, LEAST_SEEDS)
    return diagnosed(group, text, outcome, "; ".join(ours))


def sentence(same: Ratios, deeper: Ratios) -> str:
    """In how many networks and seeds responses are smaller."""
    parts = [
        f"than those of {others} in {sum(smaller)} of {len(smaller)} comparisons"
        for others, ratios in (
            ("plain networks of the same depth", same),
            ("the next shallower residual network", deeper),
        )
        if (smaller := [value < 1 - ALIKE for _, values in ratios.values() for value in values.values()])
    ]
    if not parts:
        return "Of no two networks the responses of one seed can be compared."
    return f"Within a seed, residual responses are smaller, by more than {100 * ALIKE:g}%, {' and '.join(parts)}."

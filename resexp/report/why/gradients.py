"""Do gradients vanish, stay or explode on their way from the last block back to the first?"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from resexp.analysis.claims import HEALTHY, VANISH, Claim, diagnosed, outcome_of
from resexp.analysis.study import Group, title
from resexp.diagnose.table import CHECKPOINT, INITIALISATION, PLAIN, RESIDUAL, SNAPSHOT, Measured, Subject
from resexp.formatting import listed, plural
from resexp.report.captions import BOLD, setting_words
from resexp.report.figures import drops, iteration_axis, short
from resexp.report.spec import Axis, Curve, Panel, Plate, Table
from resexp.report.why.profiles import (
    STAGES,
    Finding,
    Profile,
    by_network,
    ends,
    log_axis,
    measured_words,
    number,
    place_axis,
    profile,
    when,
    with_mean,
)

STABLE, VANISHING, EXPLODING = "stable", "vanishing", "exploding"
WITHIN = 10.0
"""Gradients are stable whose norm at the first block's output is within this factor of that at the last block's."""

HEADING = ["network", "weights", "measured", "first/last block", "lowest", "highest", "farthest block", "gradients"]


def geometric_mean(values: Iterable[float]) -> float:
    """Of positive numbers; nan where one is nan."""
    return math.exp(statistics.fmean(map(math.log, values)))


def backwards(measured: Measured, subject: Subject) -> Profile:
    """Gradient norms at block outputs from the last block to the first, as multiples of the last one's.

    nan where it is 0 or not finite.
    """
    norms = profile(measured, subject, "output_gradient")[::-1]
    return [norm / norms[0] if 0 < norm < math.inf and 0 < norms[0] < math.inf else math.nan for norm in norms]


def behaviour(path: Profile) -> str:
    """The word for gradients that are multiplied like this on their way back."""
    if math.isnan(path[-1]):
        return "not finite"
    if not 1 / WITHIN <= path[-1] <= WITHIN:
        return VANISHING if path[-1] < 1 else EXPLODING
    return STABLE if all(1 / WITHIN <= at <= WITHIN for at in path) else "stable at the ends only"


@dataclass(frozen=True)
class Way:
    """The way back in one network, in several seeds (during training also iterations) with the same kind of weights."""

    subject: Subject
    """The first of them."""
    paths: list[Profile]

    @cached_property
    def words(self) -> list[str]:
        """What happens to gradients."""
        return sorted({behaviour(path) for path in self.paths})

    @property
    def mean(self) -> float:
        """By what they are multiplied from the last block to the first: the geometric mean."""
        return geometric_mean(path[-1] for path in self.paths)

    @property
    def cells(self) -> list[str]:
        """Its row of the table."""
        values, lasts = [at for path in self.paths for at in path], [path[-1] for path in self.paths]
        farthest = math.nan if any(map(math.isnan, values)) else max(values, key=lambda at: abs(math.log(at)))
        numbers = [self.mean, min(lasts), max(lasts), farthest]
        names = [title(self.subject.network), when(self.subject), str(len(self.paths))]
        return [*names, *map(number, numbers), ", ".join(self.words)]


def ways(measured: Measured) -> list[Way]:
    """One for each norm, kind of weights and network."""
    rows: list[Way] = []
    for norm in ("batch", "none"):
        for source in (INITIALISATION, SNAPSHOT, CHECKPOINT):
            own = by_network(one for one in measured if (one.source, one.norm) == (source, norm))
            rows += [Way(seeds[0], [backwards(measured, seed) for seed in seeds]) for seeds in own.values()]
    return rows


def find(group: Group, measured: Measured) -> Finding | None:
    """Figure, sentence and numbers; None where nothing was measured."""
    rows = ways(measured)
    plate = _plate(group, measured, rows)
    if not plate.panels:
        return None
    caption = f"the first block's output over that at the last block's; stable: within a factor of {WITHIN:g}"
    table = Table(f"Norm of the gradient at {caption}", HEADING, [way.cells for way in rows], {0, 1, 7})
    sentence = (
        f"On their way from the last block back to the first, gradients {_where(rows, VANISHING, 'vanish')}; "
        f"they {_where(rows, EXPLODING, 'explode')}."
    )
    return Finding(plate, sentence, table, claimed(group, rows))


def _plate(group: Group, measured: Measured, rows: list[Way]) -> Plate:
    """Along the blocks, for each kind of weights; then against iteration, where weights were kept during training."""
    panels: list[Panel] = []
    for moment in dict.fromkeys(when(way.subject) for way in rows if way.subject.source != SNAPSHOT):
        own = [(way.subject, way.paths) for way in rows if when(way.subject) == moment]
        curves = [(one, with_mean(one.network, short(one.network), paths, geometric_mean)) for one, paths in own]
        panels += _panels(curves, moment, place_axis("block", "last", "first"), STAGES)
    training = [
        (subjects[0], followed(measured, network, subjects))
        for network, subjects in by_network(measured).items()
        if any(subject.source == SNAPSHOT for subject in subjects)
    ]
    panels += _panels(training, "during training (first block)", iteration_axis(group), drops(group))
    gaps = any(math.isnan(value) for _, curve in training for _, value in curve.mean)
    caption = [
        measured_words(measured).strip(),
        "Norm of the loss's gradient at each block's output, as a multiple of that at the last block's; with batch "
        "norm unless a title says otherwise.",
        BOLD,
        f"Vertical lines: borders of stages{', drops of the learning rate' if training else ''}.",
        "A mean has a gap where not every seed was measured." if gaps else "",
    ]
    heading = "Gradients on their way back"
    return Plate("gradients", heading, panels, setting_words(group), " ".join(filter(None, caption)))


def _panels(curves: list[tuple[Subject, Curve]], moment: str, x: Axis, lines: list[float]) -> list[Panel]:
    """Plain beside residual networks, on one scale."""
    drawn = [(subject.family, curve) for subject, curve in curves if curve.mean or curve.seeds]
    families = {kind: [curve for family, curve in drawn if family == kind] for kind in (PLAIN, RESIDUAL)}
    return [
        Panel(
            f"{family.capitalize()}, {moment}",
            own,
            x,
            log_axis([curve for _, curve in drawn]),
            f"Gradient norm. {ends(own)}",
            lines,
        )
        for family, own in families.items()
        if own
    ]


def _where(rows: list[Way], word: str, verb: str) -> str:
    """explode at initialisation in plain-20 and plain-56."""
    moments: dict[str, list[str]] = {}
    for way in rows:
        if word in way.words:
            moments.setdefault(when(way.subject), []).append(title(way.subject.network))
    return f"{verb} " + (listed([f"{when} in {listed(names)}" for when, names in moments.items()]) or "nowhere")


def claimed(group: Group, rows: list[Way]) -> list[Claim]:
    """What becomes of the claims on gradients: the deepest plain networks with batch norm decide."""
    deepest: list[Way] = []
    for source in (INITIALISATION, CHECKPOINT):
        one = [
            way
            for way in rows
            if (way.subject.family, way.subject.norm, way.subject.source) == (PLAIN, "batch", source)
        ]
        deepest += [way for way in one if way.subject.depth == max(other.subject.depth for other in one)]
    ours = "; ".join(
        f"{title(way.subject.network)} {when(way.subject)}: times {number(way.mean)}, {', '.join(way.words)} "
        f"({plural(len(way.paths), 'seed')})"
        for way in deepest
    )
    seeds = min((len(way.paths) for way in deepest), default=0)
    words = [behaviour(path) for way in deepest for path in way.paths]
    return [
        diagnosed(group, text, outcome_of([word == wanted for word in words], seeds), ours)
        for text, wanted in ((VANISH, VANISHING), (HEALTHY, STABLE))
    ]


def followed(measured: Measured, network: str, subjects: list[Subject]) -> Curve:
    """A network's way back against iteration, from initialisation on: each trained seed, and the geometric mean.

    The mean has a gap (nan) where some seeds were measured and others were not.
    """
    trained = {(subject.seed, subject.norm) for subject in subjects if subject.source != INITIALISATION}
    seeds: dict[int, dict[int, float]] = defaultdict(dict)
    for subject in subjects:
        value = backwards(measured, subject)[-1]
        if (subject.seed, subject.norm) in trained and not math.isnan(value):
            seeds[subject.seed][subject.iteration] = value
    times = sorted({at for values in seeds.values() for at in values})
    mean = [(float(at), geometric_mean(values.get(at, math.nan) for values in seeds.values())) for at in times]
    while mean and math.isnan(mean[-1][1]):
        mean.pop()
    thin = [[(float(at), value) for at, value in sorted(values.items())] for _, values in sorted(seeds.items())]
    return Curve(network, short(network), False, thin if len(thin) > 1 else [], mean)

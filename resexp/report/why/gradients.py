"""Do gradients vanish, stay or explode on their way from the last block back to the first?"""

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from resexp.analysis.claims import (
    EXPLODE,
    HEALTHY_INITIAL,
    HEALTHY_TRAINED,
    PRODUCT,
    SHORTCUTS_HELP,
    VANISH,
    VANISH_HE,
    VANISH_SMALL,
    Claim,
    diagnosed,
    outcome_of,
)
from resexp.analysis.intervals import geometric_interval, geometric_mean
from resexp.analysis.study import Group, title
from resexp.diagnose.table import CHECKPOINT, INITIALISATION, PLAIN, RESIDUAL, SNAPSHOT, Measured, Subject
from resexp.formatting import ABSENT, listed, number, plural
from resexp.report.captions import line_words, setting_words
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
    moment,
    place_axis,
    profile,
    when,
    with_mean,
)

STABLE, VANISHING, EXPLODING = "stable", "vanishing", "exploding"
NOT_LEVEL = "stable at the ends only"
WITHIN = 10.0
"""Gradients are stable whose norm at the first block's output is within this factor of that at the last block's."""

ALIKE = 0.05
"""What a block does to gradients follows the scale of its weights where it is within this share of what is expected."""

HEADING = [
    *("network", "norm", "weights", "seeds", "a block", "first/last block"),
    *("first/last layer", "first layer", "gradients"),
]


def backwards(measured: Measured, subject: Subject) -> Profile:
    """Gradient norms at block outputs from the last block to the first, as multiples of the last one's.

    0 where nothing is left of it, nan where it is not finite, or the last one's is 0.
    """
    norms = profile(measured, subject, "output_gradient")[::-1]
    return [norm / norms[0] if 0 <= norm < math.inf and 0 < norms[0] < math.inf else math.nan for norm in norms]


def behaviour(path: Profile) -> str:
    """The word for gradients that are multiplied like this on their way back."""
    if math.isnan(path[-1]):
        return "not finite"
    if not 1 / WITHIN <= path[-1] <= WITHIN:
        return VANISHING if path[-1] < 1 else EXPLODING
    return STABLE if all(1 / WITHIN <= at <= WITHIN for at in path) else NOT_LEVEL


@dataclass(frozen=True)
class Way:
    """The way back in one network, in several seeds (during training also iterations) with the same kind of weights."""

    subject: Subject
    """The first of them."""
    seeds: list[int]
    paths: list[Profile]
    layers: list[tuple[float, float]]
    """Of each, the norms of the gradients of the first and the last layer's weights."""

    @cached_property
    def words(self) -> list[str]:
        """What happens to gradients."""
        return sorted({behaviour(path) for path in self.paths})

    @property
    def ends(self) -> list[float]:
        """By what each is multiplied from the last block to the first."""
        return [path[-1] for path in self.paths]

    @property
    def block(self) -> list[float]:
        """By what one block of each multiplies it: the geometric mean over blocks."""
        return [path[-1] ** (1 / max(1, len(path) - 1)) for path in self.paths]

    @property
    def cells(self) -> list[str]:
        """Its row of the table."""
        one = self.subject
        scaled = "He" if one.scale == 1 else f"He times {one.scale:g}"
        weights = scaled if one.source == INITIALISATION else moment(one)
        first, over_last = [first for first, _ in self.layers], [first / last for first, last in self.layers]
        numbers = [_with_interval(values) for values in (self.ends, over_last, first)]
        factor = _with_interval(self.block, digits=3)
        return [title(one.network), one.norm, weights, str(len(self.paths)), factor, *numbers, ", ".join(self.words)]


def _with_interval(values: list[float], name: str = "", digits: int = 2) -> str:
    """The geometric mean and its 95% interval over seeds: 0.95 (0.91 to 0.99)."""
    interval = geometric_interval(values)
    mean, *ends = (number(value, digits) for value in (geometric_mean(values), *(interval or ())))
    return f"{mean} ({name}{ends[0]} to {ends[1]})" if ends else mean


def of_layers(measured: Measured, subject: Subject) -> tuple[float, float]:
    """The norms of the gradients of the first and the last layer's weights; nan where one is 0 or not finite."""
    norms = profile(measured, subject, "weight_gradient") or [math.nan]
    first, last = (norm if 0 < norm < math.inf else math.nan for norm in (norms[0], norms[-1]))
    return first, last


def ways(measured: Measured) -> list[Way]:
    """One for each norm, kind of weights, scale and network."""
    rows: list[Way] = []
    for source in (INITIALISATION, SNAPSHOT, CHECKPOINT):
        for norm in ("batch", "none"):
            alike = [one for one in measured if (one.source, one.norm) == (source, norm)]
            for scale in sorted({one.scale for one in alike}, reverse=True):
                for seeds in by_network(one for one in alike if one.scale == scale).values():
                    paths = [backwards(measured, seed) for seed in seeds]
                    layers = [of_layers(measured, seed) for seed in seeds]
                    rows.append(Way(seeds[0], [one.seed for one in seeds], paths, layers))
    return rows


def find(group: Group, measured: Measured) -> Finding | None:
    """Figure, sentence and numbers; None where nothing was measured."""
    rows = ways(measured)
    plate = _plate(group, measured, rows)
    if not plate.panels:
        return None
    initial = [way for way in rows if way.subject.source == INITIALISATION]
    others = [way for way in rows if way.subject.norm != "none"]
    sentence = "Only networks without norm were measured."
    if others:
        sentence = (
            "With batch norm, on their way from the last block back to the first, gradients "
            f"{_where(others, VANISHING, 'vanish')}; they {_where(others, EXPLODING, 'explode')}."
        )
    caption = (
        "Geometric means over seeds with 95% intervals. A block: by what it multiplies the norm on the way back; "
        "first/last layer, first layer: norms of gradients of weights"
    )
    cells = [way.cells for way in rows if way.subject.source != SNAPSHOT]
    table = Table(caption, HEADING, cells, {0, 1, 2, 8})
    return Finding(plate, sentence, table, claimed(group, measured, initial), _summary(rows))


def _summary(rows: list[Way]) -> Table:
    """A row for each network, a column for each kind of weights."""
    kinds = list(dict.fromkeys(when(way.subject) for way in rows))
    cells: dict[str, dict[str, str]] = {}
    for way in rows:
        several = way.subject.source == SNAPSHOT  # of iterations, which are no sample
        factor = " to ".join(map(number, (min(way.ends), max(way.ends)) if several else (geometric_mean(way.ends),)))
        cells.setdefault(way.subject.network, {})[when(way.subject)] = f"{factor}, {', '.join(way.words)}"
    caption = "The gradient's norm at the first block's output over that at the last block's, geometric mean over seeds"
    named = [[title(name), *(own.get(kind, ABSENT) for kind in kinds)] for name, own in cells.items()]
    return Table(caption, ["network", *kinds], named, set(range(1 + len(kinds))))


def _plate(group: Group, measured: Measured, rows: list[Way]) -> Plate:
    """Along the blocks, for each kind of weights; then against iteration, where weights were kept during training."""
    panels: list[Panel] = []
    for kind in dict.fromkeys(when(way.subject) for way in rows if way.subject.source != SNAPSHOT):
        own = {  # no 0 on an axis of powers
            way.subject: {
                seed: [at or math.nan for at in path] for seed, path in zip(way.seeds, way.paths, strict=True)
            }
            for way in rows
            if when(way.subject) == kind
        }
        curves = [
            (one, with_mean(one.network, short(one.network), paths, geometric_mean)) for one, paths in own.items()
        ]
        first = next(iter(own))
        heading = first.kind.strip() if first.scale != 1 else kind  # the rest is said by the panel before it
        panels += _panels(curves, heading, place_axis("block", "last", "first"), STAGES)
    training = [
        (subjects[0], followed(measured, network, subjects))
        for network, subjects in by_network(measured).items()
        if any(subject.source == SNAPSHOT for subject in subjects)
    ]
    panels += _panels(
        training, "during training (first block)", iteration_axis(group.recipe_settings), drops(group.recipe_settings)
    )
    arithmetic = "fp32, without norm in float64" if any(one.norm == "none" for one in measured) else "fp32"
    gaps = any(math.isnan(value) for _, curve in training for _, value in curve.mean)
    caption = [
        measured_words(measured, arithmetic),
        "A mean has a gap where not every seed was measured." if gaps else "",
    ]
    key = [
        "Norm of the loss's gradient at each block's output, as a multiple of that at the last block's; with batch "
        "norm unless a title says otherwise.",
        line_words(panels),
        f"Vertical lines: borders of stages{', drops of the learning rate' if training else ''}.",
    ]
    heading, words = "Gradients on their way back", " ".join(filter(None, caption))
    return Plate("gradients", heading, panels, setting_words(group), words, key)


def _panels(curves: list[tuple[Subject, Curve]], heading: str, x: Axis, lines: list[float]) -> list[Panel]:
    """Plain beside residual networks, on one scale."""
    drawn = [(subject.family, curve) for subject, curve in curves if curve.mean or curve.seeds]
    families = {kind: [curve for family, curve in drawn if family == kind] for kind in (PLAIN, RESIDUAL)}
    return [
        Panel(
            f"{family.capitalize()}, {heading}",
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


def claimed(group: Group, measured: Measured, initial: list[Way]) -> list[Claim]:
    """What becomes of the claims on gradients: the deepest networks decide, once trained the deepest that trained."""
    ends = ways({one: readings for one, readings in measured.items() if one.source == CHECKPOINT})
    trained = ways({one: readings for one, readings in measured.items() if _has_trained(group, one)})
    plain = {norm: _deepest(initial, PLAIN, norm) for norm in ("batch", "none")}
    he = [way for way in plain["none"] if way.subject.scale == 1]
    small = [way for way in plain["none"] if way.subject.scale < 1]
    vanished = {(way.subject.depth, way.subject.scale) for way in plain["none"] if way.words == [VANISHING]}
    beside = [way for way in initial if (way.subject.family, way.subject.norm) == (RESIDUAL, "none")]
    beside = [way for way in beside if (way.subject.depth, way.subject.scale) in vanished]

    def claim(text: str, deciding: list[Way], *wanted: str) -> Claim:
        """It holds where gradients behave in one of these ways."""
        held = [behaviour(path) in wanted for way in deciding for path in way.paths]
        seeds = min((len(way.paths) for way in deciding), default=0)
        return diagnosed(group, text, outcome_of(held, seeds), "; ".join(map(_measured, deciding)))

    return [
        claim(VANISH, plain["batch"] + _deepest(ends, PLAIN, "batch"), VANISHING),
        claim(HEALTHY_INITIAL, plain["batch"], STABLE),
        claim(HEALTHY_TRAINED, _deepest(trained, PLAIN, "batch"), STABLE),
        claim(VANISH_HE, he, VANISHING),
        claim(VANISH_SMALL, small, VANISHING),
        _product(group, he, small),
        _explode(group, initial),
        claim(SHORTCUTS_HELP, beside, STABLE, EXPLODING, NOT_LEVEL),
    ]


def _product(group: Group, he: list[Way], small: list[Way]) -> Claim:
    """Weights times c multiply what a block does to gradients by c squared: it has two layers."""
    outcomes: list[bool] = []
    found: list[str] = []
    for at_he in he:
        for way in small:
            same = way.subject.depth == at_he.subject.depth and len(way.block) == len(at_he.block)
            if same and all(way.block) and all(at_he.block):  # nothing follows from what is too small for a number
                wanted = way.subject.scale**2
                ratios = [own / reference for own, reference in zip(way.block, at_he.block, strict=True)]
                outcomes += [abs(ratio / wanted - 1) < ALIKE for ratio in ratios]
                found.append(f"{_with_interval(ratios, digits=3)} at {way.subject.scale:g}, squared {wanted:.3g}")
    seeds = min((len(way.block) for way in (*he, *small)), default=0)
    name = f"{title(he[0].subject.network)}, a block against He weights: " if found else ""
    return diagnosed(group, PRODUCT, outcome_of(outcomes, seeds), name + "; ".join(found))


def _explode(group: Group, initial: list[Way]) -> Claim:
    """One network in which they do in every seed is enough."""
    exploding = [way for way in initial if way.words == [EXPLODING]]
    seeds = min((len(way.paths) for way in exploding or initial), default=0)
    ours = f"{len(exploding)} of {plural(len(initial), 'case')}: they {_where(exploding, EXPLODING, 'explode')}"
    return diagnosed(group, EXPLODE, outcome_of([bool(exploding)] if initial else [], seeds), ours if initial else "")


def _has_trained(group: Group, subject: Subject) -> bool:
    """Whether it is the end of a run that trained."""
    network = group.network(subject.network)
    runs = [run for run in network.finished if run.seed == subject.seed] if network else []
    return subject.source == CHECKPOINT and any(run.trained for run in runs)


def _deepest(rows: list[Way], family: str, norm: str) -> list[Way]:
    """The deepest of a family with this norm, at each scale."""
    own = [way for way in rows if (way.subject.family, way.subject.norm) == (family, norm)]
    return [way for way in own if way.subject.depth == max(other.subject.depth for other in own)]


def _measured(way: Way) -> str:
    """plain-110 at initialisation: times 10⁷ (95% interval 10⁶ to 10⁸), exploding (5 seeds)."""
    factor = _with_interval(way.ends, "95% interval ")
    what = f"{title(way.subject.network)} {when(way.subject)}: times {factor}, {', '.join(way.words)}"
    return f"{what} ({plural(len(way.paths), 'seed')})"


def followed(measured: Measured, network: str, subjects: list[Subject]) -> Curve:
    """A network's way back against iteration, from initialisation on: each trained seed, and the geometric mean.

    The mean has a gap (nan) where some seeds were measured and others were not.
    """
    trained = {(subject.seed, subject.norm) for subject in subjects if subject.source != INITIALISATION}
    seeds: dict[int, dict[int, float]] = defaultdict(dict)
    for subject in subjects:
        value = backwards(measured, subject)[-1]
        if (subject.seed, subject.norm) in trained and value > 0:
            seeds[subject.seed][subject.iteration] = value
    times = sorted({at for values in seeds.values() for at in values})
    mean = [(float(at), geometric_mean(values.get(at, math.nan) for values in seeds.values())) for at in times]
    while mean and math.isnan(mean[-1][1]):
        mean.pop()
    thin = {seed: [(float(at), value) for at, value in sorted(seeds[seed].items())] for seed in sorted(seeds)}
    return Curve(network, short(network), False, thin if len(thin) > 1 else {}, mean)

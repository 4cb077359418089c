"""What networks lose without some of their blocks, and how near blocks are to the identity."""

import math
import statistics
from typing import Any

from resexp.analysis.claims import DEGRADES, FALL_BACK, REPRODUCED, SKIPS, Claim, diagnosed, outcome_of
from resexp.analysis.study import Group, title
from resexp.analysis.verdict import UNDECIDED, Contrast
from resexp.diagnose.table import NEAR, PLAIN, RESIDUAL, Measured, Subject
from resexp.formatting import ABSENT, listed, number, plural
from resexp.report.captions import setting_words
from resexp.report.spec import Axis, Curve, Panel, Plate, Table
from resexp.report.why.profiles import (
    STAGES,
    Finding,
    absent,
    along,
    by_network,
    ends,
    linear_axis,
    measured_words,
    place_axis,
    profile,
)

PERCENT = Axis(0, 100, [(20 * part, str(20 * part)) for part in range(6)])
SHARE = Axis(
    0, 1, [(part / 4, f"{25 * part}%") for part in range(5)], "blocks removed, in a random order", percent=True
)
HEADING = [
    *("network", "seed", "whole, %", "median change, points", "largest", "of block", "least ratio"),
    *(f"ratios below {NEAR:g}", "change without those"),
]
KEY = [
    "Each line a seed. Dashed: plain; solid: residual.",
    "A removed block is replaced by its shortcut, in a plain network by the one without parameters that it would have; "
    "nothing is trained again.",
    "What a block adds: |F(x)| / |shortcut(x)|, mean over images; 0 is the identity; in a plain block F is what it "
    "computes before the last ReLU, minus that shortcut.",
]


def find(group: Group, measured: Measured) -> Finding | None:
    """Figure, sentence and numbers; None where nothing was measured."""
    networks = by_network(measured)
    if not networks:
        return None
    rows: list[list[str]] = []
    medians: dict[str, list[float]] = {}
    for subject in (subject for subjects in networks.values() for subject in subjects):
        (whole,), singles, ratios = (
            profile(measured, subject, quantity) for quantity in ("error", "error_without_one", "residual_ratio")
        )
        changes = [100 * (error - whole) for error in singles]
        median = statistics.median(changes)
        medians.setdefault(subject.family, []).append(median)
        largest = max(changes, key=abs)
        near = sum(ratio < NEAR for ratio in ratios)
        without = profile(measured, subject, "error_without_near") if near else []
        row = [title(subject.network), str(subject.seed), f"{100 * whole:.1f}", f"{median:+.1f}", f"{largest:+.1f}"]
        row += [f"{changes.index(largest) + 1} of {len(changes)}", number(min(ratios)), f"{near} of {len(ratios)}"]
        rows.append([*row, f"{100 * (without[0] - whole):+.1f}" if without else ABSENT])
    images = listed(sorted({subject.images for subject in measured}))
    caption = f"Test error on {images}: whole, its change when one block is removed, and what blocks add"
    table = Table(caption, HEADING, rows)
    costs: list[str] = []
    for family, own in medians.items():
        span = " to ".join(dict.fromkeys(f"{median:+.1f}" for median in (min(own), max(own))))
        costs.append(f"{span} points in {family} networks")
    sentence = f"When one block is removed, the test error changes by {' and '.join(costs)} (median over blocks)."
    return Finding(_plate(group, measured, networks), sentence, table, [claimed(group, measured)])


def _plate(group: Group, measured: Measured, networks: dict[str, list[Subject]]) -> Plate:
    """A line for each seed, never a mean: which block matters differs from seed to seed."""

    def curves(scale: float, *quantities: str) -> list[Curve]:
        drawn: list[Curve] = []
        for network, subjects in networks.items():
            lines = {
                one.seed: along([scale * value for what in quantities for value in profile(measured, one, what)])
                for one in subjects
            }
            drawn.append(Curve(network, title(network), subjects[0].family == PLAIN, lines, []))
        return drawn

    single, several = curves(100, "error_without_one"), curves(100, "error", "error_without_several")
    added, place = curves(1, "residual_ratio"), place_axis("block")
    panels = [
        Panel("Test error without one block (%)", single, place, PERCENT, ends(single), STAGES),
        Panel("Test error without several (%)", several, SHARE, PERCENT, ends(several)),
        Panel("What a block adds to its shortcut", added, place, linear_axis(added), ends(added), STAGES),
    ]
    caption = measured_words(measured) + absent(group, measured)
    return Plate("lesions", "Networks without some of their blocks", panels, setting_words(group), caption, KEY)


def claimed(group: Group, measured: Measured) -> Claim:
    """What becomes of the claim on blocks: one that adds next to nothing, in any network and seed, shows that it can.

    That none does, among some, is no proof that none can; it is called not reproduced.
    """
    near: list[bool] = []
    ours: list[str] = []
    networks = by_network(one for one in measured if one.family == RESIDUAL)
    for network, subjects in networks.items():
        added = [value for subject in subjects for value in profile(measured, subject, "residual_ratio")]
        near += [value < NEAR for value in added]
        blocks = f"{sum(value < NEAR for value in added)} of {len(added)} blocks below {NEAR:g}"
        seeds = plural(len(subjects), "seed")
        ours.append(f"{title(network)}: {blocks}, least {number(min(added))} ({seeds})")
    outcome = REPRODUCED if any(near) else outcome_of(near, min(map(len, networks.values()), default=0))
    return diagnosed(group, FALL_BACK, outcome, "; ".join(ours))


def skipped(group: Group, by_decay: dict[float, Measured]) -> Claim | None:
    """Whether more blocks are near the identity under the strongest weight decay than under the group's own.

    Undecided where the schedule is too short for decay to shrink what is not needed. None where no
    residual network was measured under two decays.
    """
    blocks: dict[str, dict[float, dict[int, tuple[int, int]]]] = {}
    for decay, measured in by_decay.items():
        for subject in measured:
            if subject.family == RESIDUAL:
                ratios = profile(measured, subject, "residual_ratio")
                count = sum(ratio < NEAR for ratio in ratios), len(ratios)
                blocks.setdefault(subject.network, {}).setdefault(decay, {})[subject.seed] = count
    name, counts = max(blocks.items(), key=lambda item: len(item[1]), default=("", dict[float, Any]()))
    if len(counts) < 2:
        return None
    weakest, *_, strongest = sorted(counts)
    errors = [{seed: near / of for seed, (near, of) in counts[decay].items()} for decay in (strongest, weakest)]
    (_, of), *_ = counts[strongest].values()
    contrast = Contrast(name, "", [(1, errors[0]), (-1, errors[1])], margin=1 / of)
    left = math.exp(-strongest * total_rate(group.recipe_settings))
    shown = "; ".join(
        f"{decay:g}: {', '.join(str(near) for near, _ in seeds.values())}" for decay, seeds in sorted(counts.items())
    )
    ours = f"{title(name)}, of {of} blocks below {NEAR:g} by weight decay, each seed: {shown}"
    short = f"; too short a schedule: of what nothing holds up, {left:.0%} is left" if left > math.exp(-1) else ""
    outcome = UNDECIDED if short else DEGRADES.get(contrast.word, UNDECIDED)
    return diagnosed(group, SKIPS, outcome, ours + short)


def total_rate(recipe: dict[str, Any]) -> float:
    """The learning rate summed over iterations, with what momentum adds; times the weight decay, it is the power of e
    by which a weight shrinks that no gradient holds up."""
    ends = [*(drop for drop in recipe["drops"] if drop < recipe["iterations"]), recipe["iterations"]]
    pieces = zip([0, *ends], ends, strict=False)
    summed = sum((end - begin) * recipe["drop_factor"] ** drops for drops, (begin, end) in enumerate(pieces))
    return recipe["lr"] * summed / (1 - recipe["momentum"])

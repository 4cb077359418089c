"""What networks lose without some of their blocks, and how near blocks are to the identity."""

import statistics

from resexp.analysis.claims import FALL_BACK, REPRODUCED, Claim, diagnosed, outcome_of
from resexp.analysis.study import Group, title
from resexp.diagnose.table import PLAIN, RESIDUAL, Measured
from resexp.formatting import plural
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
    number,
    place_axis,
    profile,
)

NEAR = 0.1
"""A block is near the identity where the norm of what it adds is below this part of its shortcut's."""

PERCENT = Axis(0, 100, [(20 * part, str(20 * part)) for part in range(6)])
SHARE = Axis(0, 1, [(part / 4, f"{25 * part}%") for part in range(5)], "blocks removed, in a random order")
HEADING = [
    *("network", "seed", "whole, %", "median change, points", "largest", "of block", "least ratio"),
    f"ratios below {NEAR:g}",
]
CAPTION = (
    "Each line a seed. A removed block is replaced by its shortcut, in a plain network by the one without parameters "
    "that it would have; nothing is trained again. What a block adds: |F(x)| / |shortcut(x)|, mean over images; 0 is "
    "the identity; in a plain block F is what it computes before the last ReLU, minus that shortcut. Dashed: plain; "
    "solid: residual."
)


def find(group: Group, measured: Measured) -> Finding | None:
    """Figure, sentence and numbers; None where nothing was measured."""
    networks = by_network(measured)
    if not networks:
        return None

    def curves(scale: float, *quantities: str) -> list[Curve]:
        drawn: list[Curve] = []
        for network, subjects in networks.items():
            values = [[scale * v for one in quantities for v in profile(measured, seed, one)] for seed in subjects]
            drawn.append(Curve(network, title(network), subjects[0].family == PLAIN, list(map(along, values)), []))
        return drawn

    single, several = curves(100, "error_without_one"), curves(100, "error", "error_without_several")
    added, place = curves(1, "residual_ratio"), place_axis("block")
    panels = [
        Panel("Test error without one block (%)", single, place, PERCENT, ends(single), STAGES),
        Panel("Test error without several (%)", several, SHARE, PERCENT, ends(several)),
        Panel("What a block adds to its shortcut", added, place, linear_axis(added), ends(added), STAGES),
    ]
    caption = measured_words(measured) + CAPTION + absent(group, measured)
    plate = Plate("lesions", "Networks without some of their blocks", panels, setting_words(group), caption)
    rows: list[list[str]] = []
    medians: dict[str, list[float]] = {}
    for network, subjects in networks.items():
        for subject in subjects:
            (whole,), singles, ratios = (
                profile(measured, subject, quantity) for quantity in ("error", "error_without_one", "residual_ratio")
            )
            changes = [100 * (error - whole) for error in singles]
            medians.setdefault(subject.family, []).append(statistics.median(changes))
            worst = max(range(len(changes)), key=lambda index: abs(changes[index]))
            rows.append(
                [
                    *(title(network), str(subject.seed), f"{100 * whole:.1f}", f"{statistics.median(changes):+.1f}"),
                    *(f"{changes[worst]:+.1f}", f"{worst + 1} of {len(changes)}", number(min(ratios))),
                    f"{sum(ratio < NEAR for ratio in ratios)} of {len(ratios)}",
                ]
            )
    table = Table("Test error whole, its change when one block is removed, and what blocks add", HEADING, rows)
    costs = [f"{min(of):+.1f} to {max(of):+.1f} points in {family} networks" for family, of in medians.items()]
    sentence = f"Without one block, the test error changes in the median by {' and '.join(costs)}."
    return Finding(plate, sentence, table, [claimed(group, measured)])


def claimed(group: Group, measured: Measured) -> Claim:
    """What becomes of the claim on blocks: one that adds next to nothing, in any network and seed, shows that it can.

    That none does, among some, is no proof that none can; it is called not reproduced.
    """
    near: list[bool] = []
    ours: list[str] = []
    seeds: list[int] = []
    for network, subjects in by_network(one for one in measured if one.family == RESIDUAL).items():
        added = [value for subject in subjects for value in profile(measured, subject, "residual_ratio")]
        below = sum(value < NEAR for value in added)
        near.append(below > 0)
        seeds.append(len(subjects))
        ours.append(
            f"{title(network)}: {below} of {len(added)} blocks below {NEAR:g}, least {number(min(added))} "
            f"({plural(len(subjects), 'seed')})"
        )
    outcome = REPRODUCED if any(near) else outcome_of(near, min(seeds, default=0))
    return diagnosed(group, FALL_BACK, outcome, "; ".join(ours))

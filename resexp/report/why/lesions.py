"""What networks lose without some of their blocks, and how near blocks are to the identity: figure and sentence."""

import statistics

from resexp.analysis.claims import FALL_BACK, REPRODUCED, Claim, Look, looked_into, outcome_of
from resexp.analysis.study import Group, title
from resexp.diagnose.table import RESIDUAL, Measured
from resexp.formatting import plural
from resexp.report.spec import Axis, Curve, Panel, Plate
from resexp.report.why.profiles import (
    STAGES,
    Finding,
    absent,
    by_network,
    caption,
    curve,
    is_plain,
    linear_axis,
    mean_profile,
    number,
    place_axis,
    profile,
)

NEAR = 0.1
"""A block is near the identity where the norm of what it adds is below this part of its shortcut's."""

PERCENT = Axis(0, 1, [(part / 5, str(20 * part)) for part in range(6)])


def find(group: Group, measured: Measured) -> Finding | None:
    """Figure and sentence; None where nothing was measured."""
    networks = by_network(list(measured))
    if not networks:
        return None

    def curves(*quantities: str) -> list[Curve]:
        drawn: list[Curve] = []
        for network, subjects in networks.items():
            profiles = [[v for quantity in quantities for v in profile(measured, one, quantity)] for one in subjects]
            drawn.append(curve(network, title(network), profiles, dashed=is_plain(subjects)))
        return [one for one in drawn if one.mean]

    def ends(drawn: list[Curve], percent: bool) -> str:
        told = (f"{100 * one.end:.1f}%" if percent else number(one.end) for one in drawn)
        return ", ".join(f"{title(one.network)} {end}" for one, end in zip(drawn, told, strict=True))

    share = Axis(0, 1, [(part / 4, f"{25 * part}%") for part in range(5)], "blocks removed, in a random order")
    single, several = curves("error_without_one"), curves("error", "error_without_several")
    nearness = curves("residual_ratio")
    panels = [
        Panel(
            "Test error without one block (%)",
            single,
            place_axis("block"),
            PERCENT,
            f"Test error without each block; the curves end at {ends(single, True)}.",
            STAGES,
        ),
        Panel(
            "Test error without several (%)",
            several,
            share,
            PERCENT,
            f"Test error against the share of removed blocks; the curves end at {ends(several, True)}.",
        ),
    ]
    if nearness:
        panels.append(
            Panel(
                "What a block adds to its shortcut",
                nearness,
                place_axis("block"),
                linear_axis(nearness),
                f"Norm of F(x) over norm of the shortcut; the curves end at {ends(nearness, False)}.",
                STAGES,
            )
        )
    explained = (
        " A removed block is replaced by its shortcut, in a plain network by the one without parameters that it would "
        "have; nothing is trained again. What a block adds: |F(x)| / |shortcut(x)|, mean over images; 0 is the "
        "identity; in a plain block F is what it computes before the last ReLU, minus that shortcut. Dashed: plain; "
        "solid: residual."
    )
    words = caption(group, measured) + explained + absent(group, measured)
    plate = Plate("lesions", "Networks without some of their blocks", panels, words)
    return Finding(plate, sentence(measured), claimed(group, measured))


def claimed(group: Group, measured: Measured) -> list[Claim]:
    """What becomes of the claim on blocks: one that adds next to nothing, in any network and seed, shows that it can.

    That none does, among some, is no proof that none can; it is called not reproduced.
    """
    looks: list[Look] = []
    ours: list[str] = []
    for network, subjects in by_network([one for one in measured if one.family == RESIDUAL]).items():
        added = [value for subject in subjects for value in profile(measured, subject, "residual_ratio")]
        near = sum(value < NEAR for value in added)
        looks.append(Look(near > 0, len(subjects)))
        seeds = plural(len(subjects), "seed")
        least = number(min(added))
        ours.append(f"{title(network)}: {near} of {len(added)} blocks below {NEAR:g}, least {least} ({seeds})")
    outcome = REPRODUCED if any(look.held for look in looks) else outcome_of(looks)
    return [looked_into(group, FALL_BACK, outcome, "; ".join(ours))]


def sentence(measured: Measured) -> str:
    """What the loss of one block costs each network, and how much its blocks add."""
    said: list[str] = []
    for network, subjects in by_network(list(measured)).items():
        (whole,), singles, ratios = (
            mean_profile([profile(measured, subject, quantity) for subject in subjects])
            for quantity in ("error", "error_without_one", "residual_ratio")
        )
        changes = [100 * (error - whole) for error in singles]
        median, worst = statistics.median(changes), max(changes)
        said.append(
            f"{title(network)} {100 * whole:.1f}% whole, {median:+.1f} points in the median and {worst:+.1f} at most "
            f"(block {changes.index(worst) + 1} of {len(changes)}), its blocks adding {number(min(ratios))} to "
            f"{number(max(ratios))} times their shortcut's norm"
        )
    return f"Test error when one block is removed: {'; '.join(said)}."

"""Do gradients vanish, stay or explode on their way from the last block back to the first? Figure and sentence."""

import math
from dataclasses import dataclass

from resexp.analysis.claims import HEALTHY, VANISH, Claim, Look, looked_into, outcome_of
from resexp.analysis.study import Group, title
from resexp.diagnose.table import CHECKPOINT, INITIALISATION, PLAIN, RESIDUAL, Measured, Subject
from resexp.formatting import listed, plural
from resexp.report.spec import Curve, Panel, Plate
from resexp.report.why.during_training import STABLE, VANISHING, WITHIN, behaviour, followed
from resexp.report.why.profiles import (
    STAGES,
    Finding,
    by_network,
    caption,
    curve,
    geometric_mean,
    log_axis,
    mean_profile,
    number,
    place_axis,
    profile,
    short,
    when,
)

CONDITIONS = ((INITIALISATION, "batch"), (CHECKPOINT, "batch"), (INITIALISATION, "none"), (CHECKPOINT, "none"))


@dataclass(frozen=True)
class Ratio:
    """Gradient norm at the first block's output over that at the last block's, geometric mean over seeds."""

    network: str
    family: str
    depth: int
    norm: str
    source: str
    seeds: int
    value: float
    between: float
    """Of the ratios at all blocks the one farthest from 1."""

    @property
    def word(self) -> str:
        """What happens to gradients on their way back."""
        ends = behaviour(self.value)
        if ends == STABLE and behaviour(self.between) != STABLE:
            return f"{STABLE} from end to end, {number(self.between)} in between"
        return ends


def backwards(measured: Measured, subject: Subject) -> list[float]:
    """Gradient norms at block outputs from the last block to the first, as multiples of the last one's."""
    norms = profile(measured, subject, "output_gradient")[::-1]
    return [norm / norms[0] if norms[0] > 0 else math.nan for norm in norms]


def ratios(measured: Measured) -> list[Ratio]:
    """One for each network, norm and source."""
    found: list[Ratio] = []
    for source, norm in CONDITIONS:
        chosen = [subject for subject in measured if (subject.source, subject.norm) == (source, norm)]
        for network, subjects in by_network(chosen).items():
            path = mean_profile([backwards(measured, subject) for subject in subjects], geometric_mean)
            farthest = max(filter(math.isfinite, path), key=lambda value: abs(math.log(value)), default=math.nan)
            one = subjects[0]
            found.append(Ratio(network, one.family, one.depth, norm, source, len(subjects), path[-1], farthest))
    return found


def find(group: Group, measured: Measured) -> Finding | None:
    """Figure and sentence; None where nothing was measured."""
    panels: list[Panel] = []
    clauses: list[str] = []
    known = ratios(measured)
    for source, norm in CONDITIONS:
        chosen = [subject for subject in measured if (subject.source, subject.norm) == (source, norm)]
        if chosen:
            panels += _row(measured, chosen, f"{'no norm, ' if norm == 'none' else ''}{when(chosen[0])}")
            here = [ratio for ratio in known if (ratio.source, ratio.norm) == (source, norm)]
            clauses.append(_clause(here, condition(chosen[0])))
    if not panels:
        return None
    on_the_way = followed(group, measured, lambda subject: backwards(measured, subject)[-1])
    panels += on_the_way.panels
    vanishing = [f"{title(ratio.network)} {_place(ratio)}" for ratio in known if ratio.word == VANISHING]
    vanishing += [f"{name} during training" for name in on_the_way.vanishing]
    closing = f"They vanish in {listed(vanishing)}." if vanishing else "They vanish in none of these networks."
    explained = (
        " Norm of the loss's gradient at each block's output, as a multiple of that at the last block's; called stable "
        f"within a factor of {WITHIN:g}. With batch norm unless it says otherwise. Vertical lines: borders of stages"
        f"{'; during training, where the first block alone is drawn, drops of the rate' if on_the_way.panels else ''}."
        f"{' A mean has a gap where not every seed was measured.' if on_the_way.gaps else ''}"
    )
    plate = Plate("gradients", "Gradients on their way back", panels, caption(group, measured) + explained)
    opening = "From the last block's output back to the first's, the norm of the gradient is multiplied"
    return Finding(plate, f"{opening} {'; '.join(clauses)}.{on_the_way.words} {closing}", claimed(group, known))


def claimed(group: Group, found: list[Ratio]) -> list[Claim]:
    """What becomes of the claims on gradients: the deepest plain networks with batch norm tell, initial and trained."""
    looks: list[Ratio] = []
    for source in (INITIALISATION, CHECKPOINT):
        plain = [one for one in found if (one.family, one.norm, one.source) == (PLAIN, "batch", source)]
        looks += [one for one in plain if one.depth == max(other.depth for other in plain)]
    ours = "; ".join(
        f"{title(one.network)} {'trained' if one.source == CHECKPOINT else 'initially'}: times {number(one.value)}, "
        f"{one.word} ({plural(one.seeds, 'seed')})"
        for one in looks
    )
    words = {VANISH: VANISHING, HEALTHY: STABLE}
    outcomes = {text: outcome_of([Look(one.word == word, one.seeds) for one in looks]) for text, word in words.items()}
    return [looked_into(group, text, outcome, ours) for text, outcome in outcomes.items()]


def condition(subject: Subject) -> str:
    """At initialisation with batch norm."""
    return f"{when(subject)} {'without a norm' if subject.norm == 'none' else 'with batch norm'}"


def _place(ratio: Ratio) -> str:
    moment = "after training" if ratio.source == CHECKPOINT else "at initialisation"
    return f"{moment} {'without a norm' if ratio.norm == 'none' else 'with batch norm'}"


def _row(measured: Measured, subjects: list[Subject], words: str) -> list[Panel]:
    """Plain beside residual networks, on one scale."""
    rows: list[tuple[str, list[Curve]]] = []
    for family in (PLAIN, RESIDUAL):
        curves: list[Curve] = []
        for network, seeds in by_network([subject for subject in subjects if subject.family == family]).items():
            drawn = curve(network, short(network), [backwards(measured, seed) for seed in seeds], mean=geometric_mean)
            if drawn.mean:
                curves.append(drawn)
        if curves:
            rows.append((family, curves))
    everything = [one for _, curves in rows for one in curves]
    return [
        Panel(
            f"{family.capitalize()}, {words}",
            curves,
            place_axis("block", backwards=True),
            log_axis(everything),
            f"Gradient norm from the last block back to the first, as a multiple of the last; the curves end at "
            f"{', '.join(f'{title(one.network)} {number(one.end)}' for one in curves)}.",
            STAGES,
        )
        for family, curves in rows
    ]


def _clause(found: list[Ratio], words: str) -> str:
    """At initialisation, with batch norm, by 16 and 7,500 in plain networks of 20 and 56 layers (exploding)."""
    parts: list[str] = []
    told = ""
    for family in (PLAIN, RESIDUAL):
        own = [ratio for ratio in found if ratio.family == family]
        if own:
            depths = f" of {listed([short(ratio.network) for ratio in own])} layers"
            networks = f"{family} ones" if depths == told else f"{family} networks{depths}"
            values = listed([number(ratio.value) for ratio in own])
            parts.append(f"by {values} in {networks} ({_words(own)})")
            told = depths
    return f"{words} {' and '.join(parts)}"


def _words(found: list[Ratio]) -> str:
    """Exploding; or stable at 20, exploding at 56 and 110."""
    kinds: dict[str, list[str]] = {}
    for ratio in found:
        kinds.setdefault(ratio.word, []).append(short(ratio.network))
    return ", ".join(kind if len(kinds) == 1 else f"{kind} at {listed(names)}" for kind, names in kinds.items())

"""What a figure or table shows, in words: data set, recipe, seeds, and which training error."""

from collections.abc import Sequence
from typing import Protocol

from resexp.analysis import paper
from resexp.analysis.study import Group, StudyRun, title
from resexp.formatting import listed, plural

DATA_NAMES: dict[str, str] = {"cifar10": "CIFAR-10", "shapes": "embedded shapes", "folder": "own images"}


def data_name(group: Group) -> str:
    """The data set's name for a title."""
    name = str(group.data_settings["name"])
    return DATA_NAMES.get(name, name)


def data_words(group: Group) -> str:
    """CIFAR-10, or what it is instead."""
    settings = group.data_settings
    if paper.is_papers_data(settings):
        held_out = settings.get("validation", 0)
        return "CIFAR-10" + (f" ({held_out:,} training images held out)" if held_out else "")
    if settings["name"] == "cifar10":
        return f"CIFAR-10 with other settings than the paper's ({group.data})"
    kind = {"shapes": "embedded data set", "folder": "own images"}.get(settings["name"], "data set")
    return f"{kind} {group.data}, not CIFAR-10"


def recipe_words(group: Group) -> str:
    """The paper's recipe, or a shortened schedule, and what else it changes; with its iterations."""
    length = f"{group.iterations:,} iterations"
    if paper.is_papers_recipe(group.recipe_settings):
        return f"the paper's recipe ({length})"
    kind = "a shortened schedule" if group.iterations < paper.RECIPE["iterations"] else "not the paper's"
    other = paper.other_settings(group.recipe_settings)
    return f"recipe {group.recipe}, {kind}{f' with another {listed(other)}' if other else ''} ({length})"


def device_words(group: Group) -> str:
    """A CPU, or the GPUs, that finished runs were trained on; empty where they do not tell."""
    sessions = [one for network in group.networks for run in network.finished for one in run.record.sessions]
    kinds = {"a CPU" if one.get("device") == "cpu" else str(one.get("device_name") or "") for one in sessions}
    return listed(sorted(filter(None, kinds)))


def setting_words(group: Group) -> str:
    """Data set, recipe and device, as a line begins."""
    devices = device_words(group)
    words = f"{data_words(group)}; {recipe_words(group)}{f' on {devices}' if devices else ''}"
    return words[0].upper() + words[1:]


class Seeded(Protocol):
    """A run, or what was measured of it."""

    @property
    def seed(self) -> int:
        """Its seed."""
        ...


def seed_words(runs: Sequence[Sequence[Seeded]]) -> str:
    """3 seeds (0, 1, 2), or how many networks have how many."""
    seeds = sorted({run.seed for members in runs for run in members})
    counts = {len(members) for members in runs}
    if len(seeds) == 1:
        return f"single seed ({seeds[0]})"
    n = plural(max(counts), "seed") if len(counts) == 1 else f"{min(counts)} to {max(counts)} seeds"
    return f"{n} ({', '.join(map(str, seeds))}): bold their mean, thin each seed"


def training_words(step: int) -> str:
    """Which training error is shown."""
    return (
        "Training error: the running one, over augmented mini-batches in training mode, "
        f"each point the mean over {step:,} iterations."
    )


def comparison_words(group: Group) -> str:
    """Whether the paper's numbers stand beside ours, and if not, why."""
    if group.is_papers:
        notes = {network.title: paper.TEST_ERROR.get(network.name) for network in group.networks}
        told = [
            f"{name} there is {published.note}." for name, published in notes.items() if published and published.note
        ]
        source = "Paper: test error from its table 6; what is marked digitised was measured from its figure 6."
        return " ".join([source, *told])
    data = [] if paper.is_papers_data(group.data_settings) else [data_words(group)]
    recipe = [] if paper.is_papers_recipe(group.recipe_settings) else [recipe_words(group)]
    return f"Not compared with the paper's numbers: {'; '.join(data + recipe)}."


def caption(
    group: Group,
    runs: list[list[StudyRun]],
    step: int,
    missing: list[str],
    high: list[tuple[str, str, float]],
    points: bool,
) -> str:
    """The words below a figure; `missing` networks are not drawn, `high` curves end above its axis."""
    parts = [f"{setting_words(group)}; {seed_words(runs)}.", training_words(step)]
    if group.recipe_settings["drops"]:
        parts.append("Vertical lines: drops of the learning rate.")
    if high:
        ends = [f"{title(name)} {kind} {100 * end:.1f}%" for name, kind, end in high]
        parts.append(f"Off the scale: {listed(ends)}.")
    if missing:
        parts.append(f"Not drawn, no finished run: {listed([title(name) for name in missing])}.")
    if points:
        parts.append("Hollow markers: the paper's figure, digitised.")
    return " ".join(parts)

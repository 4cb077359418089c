"""Data set, recipe, device and seeds of a group in words."""

from collections.abc import Iterable
from typing import Any

from resexp.analysis import paper
from resexp.analysis.study import Group
from resexp.formatting import listed, plural, spans
from resexp.report.spec import MOST_THIN, Panel

DATA_NAMES: dict[str, str] = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "svhn": "SVHN",
    "shapes": "embedded shapes",
    "folder": "own images",
}


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


def setting_words(group: Group) -> str:
    """Data set, recipe, devices and precisions of finished runs, where they are known, as a line begins."""
    sessions = [one for network in group.networks for run in network.finished for one in run.record.sessions]
    devices = {device_words(one) for one in sessions} - {""}
    words = f"{data_words(group)}; {recipe_words(group)}{f' on {listed(sorted(devices))}' if devices else ''}"
    return words[0].upper() + words[1:]


def device_words(session: dict[str, Any]) -> str:
    """Where a session computed, and in which precision if not in fp32; nothing where that is not known."""
    device = "a CPU" if session.get("device") == "cpu" else str(session.get("device_name") or "")
    precision = session.get("precision", "fp32")
    return f"{device} in {precision}" if device and precision != "fp32" else device


def seed_words(networks: Iterable[Iterable[int]]) -> str:
    """The seeds of some networks: 3 seeds (0, 1, 2), 100 seeds (0 to 99), or the fewest and the most that one has."""
    sets = [set(seeds) for seeds in networks]
    seeds, counts = sorted(set[int]().union(*sets)), {len(own) for own in sets}
    if len(seeds) == 1:
        return f"single seed ({seeds[0]})"
    n = plural(max(counts), "seed") if len(counts) == 1 else f"{min(counts)} to {max(counts)} seeds"
    return f"{n} ({', '.join(spans(seeds))})"


def line_words(panels: list[Panel]) -> str:
    """What bold and thin lines are; nothing where no network has several seeds."""
    most = max((len(curve.seeds) for panel in panels for curve in panel.curves), default=0)
    thin = "each seed" if most <= MOST_THIN else f"the first {MOST_THIN} of them"
    return f"Bold: mean over seeds; thin: {thin}." if most else ""


def comparison_words(group: Group) -> str:
    """Whether the paper's numbers stand beside ours, and if not, why."""
    if group.is_papers:
        published = {network.title: paper.TEST_ERROR.get(network.name) for network in group.networks}
        notes = [f"{name} there is {one.note}." for name, one in published.items() if one and one.note]
        return " ".join(["Paper: its table 6; what is marked digitised was measured from its figure 6.", *notes])
    data = [] if paper.is_papers_data(group.data_settings) else [data_words(group)]
    recipe = [] if paper.is_papers_recipe(group.recipe_settings) else [recipe_words(group)]
    return f"Not compared with the paper's numbers: {'; '.join(data + recipe)}."

"""Runs on disk -> groups of one data set and one recipe -> networks x seeds. Errors are fractions. No torch here."""

import json
import math
import re
import statistics
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from resexp.analysis import paper
from resexp.config.presets import PARTS
from resexp.config.settings import USUAL, Chosen, flatten, recorded
from resexp.errors import UserError
from resexp.formatting import few, listed
from resexp.storage import history
from resexp.storage.run import FINISHED, INTERRUPTED, NEW, RUNNING, Record, Run, find_runs, no_runs
from resexp.system.files import digest

if TYPE_CHECKING:
    from pandas import DataFrame

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,159}")
NOT_TRAINED = 0.05
"""A network whose final running error is less than this below chance did not train."""


@dataclass(frozen=True)
class Final:
    """The metrics of a finished run: the mean over its last sixteenth, and the errors measured at its end."""

    running_error: float
    clean_train_error: float | None
    test_error: float | None


METRICS = ("running_error", "clean_train_error", "test_error")


@dataclass(frozen=True)
class StudyRun:
    """One run as the study sees it. `path` is relative to the folder of runs."""

    path: str
    labels: dict[str, str]
    result: dict[str, Any]
    record: Record
    rows: list[history.Row]
    state: str
    """finished, failed, running, interrupted or not started."""

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.result["seed"]

    @property
    def model(self) -> dict[str, Any]:
        """The settings of its network, equal for all seeds.

        Of weights to start from that are named after the seed, FILE-seed0.pt, it has FILE instead of a digest.
        """
        model, end = self.result["model"], f"-seed{self.seed}"
        stem = PurePath(self.record.start.get("file", "")).stem
        if not model.get("start") or not stem.endswith(end):
            return model
        return model | {"start": stem.removesuffix(end).removeprefix(f"{model['name']}-")}

    def part(self, name: str) -> dict[str, Any]:
        """One of `PARTS`: its settings, by which runs are grouped."""
        return self.model if name == "model" else self.result[name]

    def label(self, name: str) -> str:
        """The label of one of `PARTS`."""
        return self.labels[name].replace(str(self.result[name].get("start")), str(self.part(name).get("start")))

    @property
    def iterations(self) -> int:
        """Iterations of its recipe."""
        return self.result["recipe"]["iterations"]

    @property
    def finished(self) -> bool:
        """Whether it counts."""
        return self.state == FINISHED

    @property
    def precedence(self) -> tuple[bool, str]:
        """Of runs with the same settings, seed and precision the highest counts: finished, then begun last."""
        return self.finished, str(self.record.sessions[0].get("started")) if self.record.sessions else ""

    @property
    def reached(self) -> int:
        """The last iteration of its history."""
        return self.rows[-1].iteration if self.rows else 0

    @property
    def at(self) -> int:
        """The iteration that it reached, which may lie between two rows of its history."""
        return max(self.reached, self.record.iteration)

    @property
    def progress(self) -> str:
        """failed at iteration 1,234 of 64,000."""
        return f"{self.state} at iteration {self.at:,} of {self.iterations:,}" if self.at else self.state

    @cached_property
    def final(self) -> Final:
        """The metrics of a finished run."""
        last = self.rows[-1] if self.reached == self.iterations else None
        running = history.running_error(self.rows, self.iterations)
        return Final(running, last and last.clean_train_error, last and last.test_error)

    @property
    def device(self) -> str:
        """What it was trained on, in each of its sessions: "NVIDIA H200, bf16"."""
        kinds = dict.fromkeys(
            ", ".join(str(session[key]) for key in ("device_name", "precision") if session.get(key))
            for session in self.record.sessions
        )
        return "; ".join(kind for kind in kinds if kind)

    @property
    def precision(self) -> str:
        """What it was computed in, in each of its sessions: fp32, or fp32 and bf16."""
        return listed(
            list(dict.fromkeys(str(one["precision"]) for one in self.record.sessions if one.get("precision")))
        )

    @property
    def chance(self) -> float | None:
        """The error of guessing; None where the number of classes was not recorded."""
        classes = self.record.data.get("classes")
        return 1 - 1 / classes if isinstance(classes, int) and classes > 0 else None

    @property
    def trained(self) -> bool:
        """Whether a finished run ended clearly better than guessing."""
        return self.chance is None or self.final.running_error <= self.chance - NOT_TRAINED


@dataclass(frozen=True)
class NetworkRuns:
    """One network of a group, with a run for each seed."""

    name: str
    model: dict[str, Any]
    runs: list[StudyRun]

    @property
    def title(self) -> str:
        """The name as the paper writes it: plain-56."""
        return title(self.name)

    @property
    def finished(self) -> list[StudyRun]:
        """The runs that count, by seed."""
        return [run for run in self.runs if run.finished]

    def by_seed(self, metric: str) -> dict[int, float]:
        """One of `METRICS` for every finished seed that has it."""
        values = {run.seed: getattr(run.final, metric) for run in self.finished}
        return {seed: value for seed, value in values.items() if value is not None}

    def values(self, metric: str) -> list[float]:
        """The same without the seeds."""
        return list(self.by_seed(metric).values())

    def iterations_to(self, error: float) -> dict[int, float]:
        """By finished seed, the end of the first row whose running training error is below `error`; else infinite."""
        return {
            run.seed: next((row.iteration for row in run.rows if row.train_error < error), math.inf)
            for run in self.finished
        }

    def mean(self, metric: str) -> float | None:
        """Mean over seeds."""
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def spread(self, metric: str) -> float | None:
        """Sample standard deviation over seeds; None for fewer than two."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Group:
    """All runs of one data set and one recipe; `data` and `recipe` are its labels."""

    data: str
    recipe: str
    data_settings: dict[str, Any]
    recipe_settings: dict[str, Any]
    networks: list[NetworkRuns]

    def network(self, name: str) -> NetworkRuns | None:
        """The network of that label."""
        return next((network for network in self.networks if network.name == name), None)

    @property
    def iterations(self) -> int:
        """Iterations of the recipe."""
        return self.recipe_settings["iterations"]

    @property
    def is_papers(self) -> bool:
        """Whether its numbers may stand beside the paper's."""
        return paper.is_papers_data(self.data_settings) and paper.is_papers_recipe(self.recipe_settings)

    @property
    def not_counted(self) -> list[tuple[NetworkRuns, StudyRun]]:
        """The runs that are not finished."""
        return [(network, run) for network in self.networks for run in network.runs if not run.finished]

    @property
    def images(self) -> dict[str, Any]:
        """Its data set as the first run that loaded it recorded it; empty where none has."""
        recorded = (run.record.data for network in self.networks for run in network.runs)
        return next((data for data in recorded if data.get("digest")), {})


@dataclass
class Study:
    """The runs of a folder, and a line for everything in it that could not be used."""

    groups: list[Group] = field(default_factory=list[Group])
    repeats: list[StudyRun] = field(default_factory=list[StudyRun])
    """Runs with the settings and the seed of a run of a group, in another precision: compared, never counted twice."""
    problems: list[str] = field(default_factory=list[str])

    @property
    def runs(self) -> list[StudyRun]:
        """All its runs, group by group."""
        return [run for group in self.groups for network in group.networks for run in network.runs]

    @property
    def finished(self) -> list[StudyRun]:
        """Those that count."""
        return [run for run in self.runs if run.finished]

    def chosen(self, chosen: Chosen, finished: bool = False) -> list[StudyRun]:
        """The runs that a command works on. Raises UserError for a network or a seed that no (finished) run has.

        None where there are no (finished) runs at all.
        """
        found = [
            (network.name, run.seed, run)
            for group in self.groups
            for network in group.networks
            for run in (network.finished if finished else network.runs)
        ]
        for at, (setting, wanted) in enumerate((("model", chosen.model), ("seed", chosen.seed))):
            there = list(dict.fromkeys(one[at] for one in found))
            for name in wanted or []:
                if there and name not in there:
                    kind = f"{'finished ' if finished else ''}run"
                    choices = listed(few([str(one) for one in there]), "or")
                    raise UserError(f"{setting}={name}: no {kind} of it there{self.unreadable()}; choose {choices}")
            found = [one for one in found if wanted is None or one[at] in wanted]
        return [run for _, _, run in found]

    def frame(self, curves: bool = False) -> "DataFrame":
        """A row for each finished run, or with `curves` for each row of every run, as far as it was trained.

        Columns: its settings by dotted name, precision and network; errors are fractions. Raises UserError without
        pandas.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise UserError("pandas: not installed; in a checkout, pip install -e '.[notebook]'") from error
        named = [(network.name, run) for group in self.groups for network in group.networks for run in network.runs]
        about = [
            (run, {"network": name, "precision": run.precision, **flatten(run.result | {"model": USUAL | run.model})})
            for name, run in named
        ]
        if curves:
            return DataFrame([own | {"state": run.state} | row._asdict() for run, own in about for row in run.rows])
        return DataFrame(
            [own | vars(run.final) | {"seconds": run.record.seconds} for run, own in about if run.finished]
        )

    def other_precisions(self, folder: Path) -> list[str]:
        """A line for each of `repeats`, for commands that leave them out."""
        return [f"{folder / run.path}: there in another precision; name it in runs=" for run in self.repeats]

    def unreadable(self) -> str:
        """What to add where there are no runs: how many could not be read, and the first of them; else empty."""
        return f" ({len(self.problems)} could not be read: {self.problems[0]})" if self.problems else ""


def title(name: str) -> str:
    """plain56 -> plain-56, resnet56+lr0.05 -> ResNet-56+lr0.05: as the paper writes them."""
    return re.sub(r"^resnet(?=\d)", "ResNet-", re.sub(r"^plain(?=\d)", "plain-", name))


def load_study(folder: Path) -> Study:
    """Every run below a folder, grouped by the content of its configuration. Damaged runs are named and left out."""
    study = Study()
    runs: dict[tuple[str, ...], dict[str, StudyRun]] = {}
    counted: list[StudyRun] = []
    for directory in find_runs(folder):
        try:
            run = _load_run(directory, folder)
        except (UserError, OSError) as error:
            where = "" if str(directory) in str(error) else f"{directory}: "
            study.problems.append(f"{where}{' '.join(str(error).split())}; the run is left out")
            continue
        same = runs.setdefault((*(content_key(run.part(part)) for part in PARTS), str(run.seed)), {})
        precision = run.precision or next(iter(same), "")  # one that has not begun may be in any
        other = same.pop("", None) or same.get(precision, run)
        left, kept = sorted((run, other), key=lambda one: one.precedence)
        same[precision] = kept
        if kept is not left:
            study.problems.append(
                f"{folder / left.path}: the same settings and seed as {folder / kept.path}; the run is left out"
            )
    usual = Counter((*key[:2], run.precision) for key, same in runs.items() for run in same.values() if run.finished)
    for key, same in runs.items():  # of several precisions that count in which most of the group's runs are finished
        first, *others = sorted(same.values(), key=lambda run: (not run.finished, -usual[(*key[:2], run.precision)]))
        counted.append(first)
        study.repeats += others
    study.groups = _group(counted)
    for group in study.groups:
        finished = (run for network in group.networks for run in network.finished)
        if len({str(run.record.data.get("digest")) for run in finished}) > 1:
            study.problems.append(f"{group.data}/{group.recipe}: its runs were trained on different images")
    return study


def existing_runs(folder: str | Path) -> Study:
    """As `load_study`. Raises UserError where there is no run that can be used."""
    study = load_study(Path(folder))
    if not study.groups:
        raise no_runs(Path(folder), study.unreadable())
    return study


def _load_run(run: Run, folder: Path) -> StudyRun:
    """One run. Raises UserError or OSError where it cannot be used."""
    config, record = run.read()
    result, labels = config["result"], config["labels"]
    recorded(result, config["execution"])  # the rules of the settings hold for it
    names: list[Any] = [*map(labels.get, PARTS), *(result[part]["name"] for part in PARTS)]
    if not all(isinstance(name, str) and NAME.fullmatch(name) for name in names):
        raise UserError("config.yaml is damaged (names)")
    if record.state == NEW and any(path.exists() for path in run.checkpoint_files):
        raise UserError(f"{run.record_file}: no such file; the command that trained the run writes it again")
    state = {NEW: "not started", RUNNING: INTERRUPTED}.get(record.state, record.state)
    if state == INTERRUPTED and run.in_use():
        state = RUNNING
    path = run.directory.relative_to(folder).as_posix()
    return StudyRun(path, labels, result, record, run.rows(record), state)


def content_key(content: Any) -> str:
    """A text that is equal for equal contents."""
    return json.dumps(content, sort_keys=True, default=str)


def distinct_labels(part: str, runs: list[StudyRun]) -> dict[str, str]:
    """A label for each content of a part by its `content_key`; a digest is added to labels that are equal."""
    labels = {content_key(run.part(part)): run.label(part) for run in runs}
    counts = Counter(labels.values())
    return {key: name if counts[name] == 1 else f"{name}+{digest(key)[:8]}" for key, name in labels.items()}


def _group(runs: list[StudyRun]) -> list[Group]:
    """Runs of one data set and one recipe together, networks by kind and depth, runs by seed."""
    labels = {part: distinct_labels(part, runs) for part in PARTS}
    groups: dict[tuple[str, str], dict[str, list[StudyRun]]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        data, recipe, model = (labels[part][content_key(run.part(part))] for part in PARTS)
        groups.setdefault((data, recipe), {}).setdefault(model, []).append(run)
    result: list[Group] = []
    for (data, recipe), members in sorted(groups.items()):
        networks = [NetworkRuns(name, seeds[0].model, seeds) for name, seeds in members.items()]
        networks.sort(key=lambda network: (network.model["residual"], network.model["depth"], network.name))
        settings = networks[0].runs[0].result
        result.append(Group(data, recipe, settings["data"], settings["recipe"], networks))
    return result

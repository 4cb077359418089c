"""Is a run normal? Its errors at fixed iterations, compared with reference seeds or the paper. No torch here.

With three reference seeds or more, each value has a prediction interval, at a level such that a normal run lies inside
all of them in 95% of cases, however they depend on each other (Bonferroni). With fewer, a run of the paper's recipe is
compared with the paper.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from resexp.analysis import paper
from resexp.analysis.intervals import Interval, level_of_each, prediction_interval
from resexp.analysis.study import NetworkRuns, Study, StudyRun
from resexp.config.settings import USUAL, differing, flatten
from resexp.formatting import listed, plural, spans
from resexp.storage import history

FRACTIONS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)
"""Of a recipe's iterations: where curves are compared."""
ENOUGH = 3
"""Reference seeds from which an interval is computed."""
TRAINING, TEST = "training", "test"

Value = tuple[str, int]
"""Which error, after which iteration."""


@dataclass(frozen=True)
class Comparison:
    """One error of a run and where it was expected; fractions."""

    kind: str
    iteration: int
    error: float
    expected: Interval

    @property
    def inside(self) -> bool:
        """Whether it lies where it was expected."""
        return self.expected[0] <= self.error <= self.expected[1]


@dataclass(frozen=True)
class Judgement:
    """How one run compares."""

    run: StudyRun
    basis: str
    """What it was compared with; or why it cannot be judged."""
    comparisons: list[Comparison] = field(default_factory=list[Comparison])
    differences: list[str] = field(default_factory=list[str])
    """Settings in which it differs from what it was compared with."""
    copy: bool = False
    """Whether its curve is, bit for bit, that of a reference run as far as it goes."""

    @property
    def outside(self) -> list[Comparison]:
        """The values that lie outside."""
        return [one for one in self.comparisons if not one.inside]


def check(
    runs: list[StudyRun], references: Study, itself: Callable[[StudyRun], str | None] = lambda _: None
) -> list[Judgement]:
    """Judge runs of one network. `itself` is a run's path within the references if it is one: it is left out then."""
    network = _closest(runs[0], references)
    known = {one.path: values(one, one.iterations) for one in network.finished} if network else {}
    return [_judge(run, network.finished if network else [], known, itself(run)) for run in runs]


def _judge(run: StudyRun, seeds: list[StudyRun], known: dict[str, dict[Value, float]], itself: str | None) -> Judgement:
    seeds = [one for one in seeds if one.path != itself]
    alike = [one for one in seeds if run.rows and run.rows[:1] == one.rows[:1]]
    same = next((one for one in alike if run.rows == one.rows[: len(run.rows)]), None)
    if same:
        basis = f"bit for bit the curve of the reference {same.path}, up to iteration {run.reached:,}"
        return Judgement(run, basis, differences=_differences(run, same), copy=True)
    if len(seeds) >= ENOUGH:
        return _against_seeds(run, seeds, [known[one.path] for one in seeds])
    count = plural(len(seeds), f"{'other ' if itself else ''}finished reference seed")
    return _against_paper(run, f"{count} of {' '.join(_names(run))}; {ENOUGH} are needed", seeds)


def _names(run: StudyRun) -> tuple[str, ...]:
    """The presets of its network, data set and recipe, whatever single settings were changed."""
    return tuple(run.result[part]["name"] for part in ("model", "data", "recipe"))


def _closest(run: StudyRun, references: Study) -> NetworkRuns | None:
    """The reference network of the same names whose settings differ in the fewest places."""
    networks = [network for group in references.groups for network in group.networks if network.finished]
    named = [network for network in networks if _names(network.finished[0]) == _names(run)]
    return min(named, key=lambda network: len(_differing(run, network.finished[0])), default=None)


def _differing(run: StudyRun, reference: StudyRun) -> list[str]:
    return [key for key in differing(run.result, reference.result) if key != "seed"]


def _differences(run: StudyRun, reference: StudyRun) -> list[str]:
    """recipe.lr 0.05 instead of 0.1."""
    ours, theirs = (flatten({"model": USUAL}) | flatten(one.result) for one in (run, reference))
    changed = [f"{key} {ours.get(key)} instead of {theirs.get(key)}" for key in _differing(run, reference)]
    digests = {one.record.data.get("digest") for one in (run, reference)} - {None}
    return changed + (["other images"] if len(digests) > 1 else [])


def values(run: StudyRun, iterations: int) -> dict[Value, float]:
    """The errors of a run at the fixed iterations that it reached.

    The training error is the mean over the sixteenth of all iterations that ends there, the test error what was
    measured there.
    """
    tests = {row.iteration: row.test_error for row in run.rows}
    errors: dict[Value, float] = {}
    for at in (round(fraction * iterations) for fraction in FRACTIONS):
        if at <= run.reached:
            errors[TRAINING, at] = history.mean_error(run.rows, at - iterations / 16, at)
        test = tests.get(at)
        if test is not None:
            errors[TEST, at] = test
    return {value: error for value, error in errors.items() if not math.isnan(error)}


def _against_seeds(run: StudyRun, seeds: list[StudyRun], each: list[dict[Value, float]]) -> Judgement:
    """Compare with prediction intervals. Their level is that of a whole run, however far this one has come."""
    iterations = seeds[0].iterations
    measured: dict[Value, list[float]] = {}
    for one in each:
        for value, error in one.items():
            measured.setdefault(value, []).append(error)
    errors = {value: known for value, known in measured.items() if len(known) >= ENOUGH}
    level = level_of_each(len(errors))
    recipe, data = seeds[0].result["recipe"], seeds[0].record.data
    images = {TRAINING: iterations / 16 * recipe["batch_size"], TEST: data.get("test_images") or math.inf}
    comparisons = [
        Comparison(*value, error, prediction_interval(errors[value], level, images[value[0]]))
        for value, error in values(run, iterations).items()
        if value in errors
    ]
    basis = (
        f"{len(seeds)} reference seeds ({listed(spans([one.seed for one in seeds]))}), intervals of {100 * level:.1f}% "
        f"for each of {len(errors)} values: a normal run lies inside all of them in 95% of cases"
    )
    return _judgement(run, basis, comparisons, _differences(run, seeds[0]))


def _against_paper(run: StudyRun, why: str, seeds: list[StudyRun]) -> Judgement:
    """Compare with the paper, where the run's names are those of its networks, data and recipe."""
    name, data, recipe = _names(run)
    if (data, recipe) != ("cifar10", "paper") or name not in paper.TRAIN_ERROR:
        differences = _differences(run, seeds[0]) if seeds else []
        return Judgement(run, f"{why}, and the paper has no such run", differences=differences)
    end = paper.RECIPE["iterations"]
    errors = values(run, end)
    # The mean over 28,001 to 32,000 is centred where the figure was read. A single test error at that learning rate
    # jumps by points from one evaluation to the next, and is not compared.
    published = {
        (TRAINING, end // 2): (paper.TRAIN_ERROR_30K.get(name), None),
        (TRAINING, end): (paper.TRAIN_ERROR.get(name), paper.REPRODUCED_TRAIN.get(name)),
        (TEST, end): (paper.TEST_ERROR.get(name), paper.REPRODUCED.get(name)),
    }
    comparisons = [
        Comparison(*value, errors[value], paper.band(value[0], number, reproduced))
        for value, (number, reproduced) in published.items()
        if value in errors and number
    ]
    basis = f"the paper and its public reproductions, give or take reading and two standard deviations ({why})"
    labels = [run.labels[part] for part in ("model", "data", "recipe")]
    differences = [label for label, preset in zip(labels, _names(run), strict=True) if label != preset]
    return _judgement(run, basis, comparisons, differences)


def _judgement(run: StudyRun, basis: str, comparisons: list[Comparison], differences: list[str]) -> Judgement:
    """With why nothing could be compared, where nothing could."""
    too_early = f"it has not reached an iteration to be compared at ({run.reached:,} so far)"
    return Judgement(run, basis if comparisons else too_early, comparisons, differences)


def own_path(run: StudyRun, runs: Path, reference: Path) -> str | None:
    """The path of a run within the reference folder, if it lies there."""
    directory, folder = (runs / run.path).resolve(), reference.resolve()
    return directory.relative_to(folder).as_posix() if directory.is_relative_to(folder) else None

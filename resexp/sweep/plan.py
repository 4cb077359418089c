"""What a sweep would do, and the time and disk to expect, from the runs that lie there. No torch here."""

import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from resexp.config.settings import Config, TrainSettings, recorded
from resexp.errors import UserError
from resexp.formatting import duration, plural
from resexp.model.cost import IMAGE_SIZE, multiply_adds, parameters
from resexp.storage.run import FAILED, Run, find_runs
from resexp.system.files import reading

COPIES = 4
"""Of the weights in float32: weights and momentum, in the newest checkpoint and the one before."""
LEAST_AT_ONCE = 1.2
"""Below this runs count as one after another: starts and ends of sweeps overlap a little."""
ROW_BYTES = 700
"""Of a row in history.csv, timing.csv, both checkpoints and TensorBoard's file."""


@dataclass(frozen=True)
class Speed:
    """What an iteration of one run took on the device that was last used."""

    cost: float
    """Multiply-adds of an iteration's forward pass."""
    seconds: float
    device: str
    began: float
    """Seconds since 1970; nan where that is not known."""
    ended: float


@dataclass(frozen=True)
class Expectation:
    """What becomes of one run, and what that takes; no seconds where no speed was seen."""

    run: str
    words: str
    seconds: float | None = 0.0
    bytes: int = 0

    def record(self) -> dict[str, Any]:
        """It for programs."""
        return {"run": self.run, "outcome": self.words, "seconds": self.seconds, "bytes": self.bytes}

    def __str__(self) -> str:
        time = f", about {duration(self.seconds)}" if self.seconds else ""
        return f"{self.run}  {self.words}{time}" + (f", {megabytes(self.bytes)}" if self.bytes else "")


def cost(settings: TrainSettings) -> float:
    """Multiply-adds of the forward pass of one iteration."""
    scale = getattr(settings.data, "image_size", IMAGE_SIZE) / IMAGE_SIZE
    return multiply_adds(settings.model) * settings.recipe.batch_size * scale**2


def speeds(runs: Path, device: str) -> list[Speed]:
    """The speeds on the device last used below a folder, or last used of the kind that is asked for."""
    seen: list[tuple[str, tuple[Any, ...], Speed]] = []
    costs: dict[Path, float] = {}  # the seeds of a network, which lie in one folder, cost the same
    for run in find_runs(runs):
        try:
            record, network = run.record(), run.directory.parent
            if network not in costs:
                found = run.config()
                costs[network] = cost(recorded(found["result"], found["execution"]))
        except (UserError, OSError, KeyError):
            continue
        for session in record.sessions:
            iterations, seconds = session.get("to", 0) - session.get("from", 0), session.get("seconds", 0)
            kind, name, started = (str(session.get(key)) for key in ("device", "device_name", "started"))
            if iterations > 0 and 0 < seconds < math.inf and (device == "auto" or kind.startswith(device)):
                began = math.nan
                with suppress(ValueError):  # a time that is none
                    began = datetime.fromisoformat(started).timestamp()
                speed = Speed(costs[network], seconds / iterations, name, began, began + seconds)
                seen.append((started, (kind, name, session.get("precision")), speed))
    if not seen:
        return []
    _, last, _ = max(seen, key=lambda one: one[0])
    return [speed for _, where, speed in seen if where == last]


def at_once(seen: list[Speed]) -> float:
    """How many of these runs trained at the same time, on average while any of them did."""
    timed = sorted((one for one in seen if not math.isnan(one.began)), key=lambda one: one.began)
    busy = until = 0.0
    for one in timed:
        busy += max(0.0, one.ended - max(one.began, until))
        until = max(until, one.ended)
    return sum(one.ended - one.began for one in timed) / busy if timed else 1.0


def expect(config: Config, seen: list[Speed]) -> Expectation:
    """What `resexp train` would do with one run."""
    run, total = Run(config.directory), config.recipe.iterations
    try:
        if config.fresh:
            with reading(run.directory):
                words = "new, puts the old run aside" if run.config_file.exists() else "new"
            return _training(config, words, 0, seen)
        if run.is_done(config):
            return Expectation(str(run), "finished" + run.precision_told(config))
        record = run.record()
    except UserError as error:
        return Expectation(str(run), f"would fail: {error}")
    if run.in_use():
        return Expectation(str(run), "is being trained by another process")
    at = record.iteration
    words = f"resumes at {at:,} of {total:,}" if at else "new"
    if record.state == FAILED:
        words = f"failed before: {record.error}; {'tries again' if not at else words}"
    return _training(config, words, at, seen)


def _training(config: Config, words: str, at: int, seen: list[Speed]) -> Expectation:
    """A run that resumes after iteration `at`: its time from the network of the nearest cost."""
    own = cost(config)
    nearest = min(seen, key=lambda speed: abs(math.log(speed.cost / own)), default=None)
    seconds = (config.recipe.iterations - at) * nearest.seconds * own / nearest.cost if nearest else None
    rows = config.recipe.iterations // config.recipe.row_every
    snapshots = (config.recipe.iterations - 1) // config.recipe.evaluate_every if config.snapshots else 0
    size = parameters(config.model) * 4 * (COPIES + snapshots) + rows * ROW_BYTES
    there = sum(path.stat().st_size for path in config.directory.rglob("*") if path.is_file()) if at else 0
    return Expectation(str(Run(config.directory)), words, seconds, max(size - there, 0))


def table(configs: list[Config]) -> tuple[str, list[Expectation]]:
    """A line for each run, and one for all of them; what becomes of each."""
    seen = speeds(Path(configs[0].runs), configs[0].device)
    expected = [expect(config, seen) for config in configs]
    return _text(configs, seen, expected), expected


def _text(configs: list[Config], seen: list[Speed], expected: list[Expectation]) -> str:
    due = [one for one in expected if one.seconds is None or one.seconds]
    width = max(len(one.run) for one in expected)
    lines = [str(Expectation(f"{one.run:<{width}}", one.words, one.seconds, one.bytes)) for one in expected]
    if not due:
        return "\n".join([*lines, "nothing to train"])
    if seen:
        total, together = sum(one.seconds or 0.0 for one in due), min(at_once(seen), len(due))
        together = together if together > LEAST_AT_ONCE else 1.0
        how = f"{together:.1f} at once" if together > 1 else "one after another"
        time = f"{how} they take about {duration(total / together)}, as fast as seen on {seen[0].device}"
    else:
        time = "how long is not known: no run there has been trained on this device yet"
    more = megabytes(sum(one.bytes for one in due))
    lines += dict.fromkeys(config.remark() for config in configs if config.remark())
    return "\n".join([*lines, f"{plural(len(due), 'run')} to train, {more} more on disk; {time}"])


def megabytes(size: float) -> str:
    """2500000 -> "2.5 MB"."""
    return f"{size / 1e6:.{0 if size >= 1e7 else 1}f} MB"

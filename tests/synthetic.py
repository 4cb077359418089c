"""Run directories that no network was trained for: curves of a chosen shape, written as training writes them."""

import math
import random
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from resexp.analysis.study import Group, load_study
from resexp.config.compose import compose
from resexp.config.settings import Config
from resexp.storage import history
from resexp.storage.run import FINISHED, Record, Run
from resexp.system.files import digest

PAPER_LIKE = {
    "plain20": (0.099, 0.013, 0.0965),
    "plain32": (0.113, 0.013, 0.101),
    "plain44": (0.146, 0.026, 0.113),
    "plain56": (0.169, 0.056, 0.133),
    "plain110": (0.80, 0.777, 0.784),
    "resnet20": (0.077, 0.0055, 0.0875),
    "resnet32": (0.061, 0.0023, 0.0751),
    "resnet44": (0.058, 0.0017, 0.0717),
    "resnet56": (0.045, 0.001, 0.0697),
    "resnet110": (0.040, 0.001, 0.0643),
}
"""Training error before the first drop and at the end, test error at the end."""


@dataclass
class Synthetic:
    """A study to write runs of: where, on what data, by which recipe."""

    runs: Path
    data: str = "cifar10"
    recipe: str = "paper"
    changes: dict[str, Any] = field(default_factory=dict[str, Any])
    """Dotted settings that differ from the presets."""

    def config(self, network: str, seed: int) -> Config:
        """The settings of a run."""
        changes = tuple(f"{key}={value}" for key, value in self.changes.items())
        return composed(f"model={network}", f"data={self.data}", f"recipe={self.recipe}", f"seed={seed}", *changes)

    def add(
        self,
        network: str,
        seed: int = 0,
        train: float | None = None,
        test: float | None = None,
        state: str = FINISHED,
        noise: float = 1.0,
        precision: str = "bf16",
        **record: Any,
    ) -> Run:
        """Write one run that ends at these errors; without them, at those that the paper's figure shows."""
        config = self.config(network, seed)
        result = config.result()
        plateau, final, final_test = PAPER_LIKE.get(network, (0.2, 0.1, 0.2))
        if train is not None:
            plateau, final = max(train, plateau), train
        rows = make_rows(result["recipe"], plateau, final, final_test if test is None else test, seed, noise)
        if state != FINISHED:
            rows = rows[: len(rows) // 2]
        differs = "+".join(str(value) for value in self.changes.values())
        run = Run(self.runs / self.data / f"{self.recipe}{differs}" / network / f"seed{seed}")
        write_run(run, config, rows, state, precision, **record)
        return run

    def add_all(self, networks: list[str], seeds: int = 1) -> None:
        """Runs like the paper's, that differ a little from seed to seed."""
        for network in networks:
            for seed in range(seeds):
                wobble = 1 + 0.06 * random.Random(f"{network} {seed}").uniform(-1, 1)
                _, train, test = PAPER_LIKE[network]
                self.add(network, seed, train * wobble, test * (1 + (wobble - 1) / 3))


def only_group(runs: Path) -> Group:
    """The one group of a folder of runs."""
    (group,) = load_study(runs).groups
    return group


@cache
def composed(*overrides: str) -> Config:
    """`compose`, once for each set of overrides."""
    return compose(*overrides)


def make_rows(
    recipe: dict[str, Any], plateau: float, final: float, final_test: float, seed: int, noise: float = 1.0
) -> list[history.Row]:
    """A curve that falls to a plateau, at the first drop most of the way down, and then to its end."""
    draw = random.Random(f"{seed} {plateau} {final}")
    total, every, drops = recipe["iterations"], recipe["row_every"], recipe["drops"]
    rows: list[history.Row] = []
    for at in sorted({*range(every, total + 1, every), total}):
        phase = sum(at > drop for drop in drops)
        level = plateau * 0.3 + final * 0.7 if phase == 1 else final
        if phase == 0:
            level = plateau + (0.88 - plateau) * math.exp(-at / (0.04 * total)) + plateau * 0.25 * (0.5 - at / total)
        here = final if at > total - total / 16 else level
        spread = noise * math.sqrt(here * (1 - here) / (every * recipe["batch_size"])) * 2
        train = min(1.0, max(0.0, here + draw.gauss(0, 1) * spread))
        end = at == total
        gap = final_test - final + (plateau * 0.2 if phase == 0 else 0)
        wild = draw.gauss(0, 0.02 * noise) if phase == 0 else draw.gauss(0, 0.001 * noise)
        test = final_test if end else min(1.0, max(0.0, here + gap + wild))
        tested = end or at % recipe["evaluate_every"] == 0
        clean = final * 0.9 if end or at in drops else None
        epoch, loss = at * recipe["batch_size"] / 50_000, -math.log(1 - min(train, 0.99))
        rate = recipe["lr"] * recipe["drop_factor"] ** phase
        rows.append(history.Row(at, epoch, rate, loss, train, 1.0, test if tested else None, 1.0, clean))
    return rows


def write_run(
    run: Run, config: Config, rows: list[history.Row], state: str, precision: str = "bf16", **record: Any
) -> None:
    """A run's three files, as training writes them."""
    run.directory.mkdir(parents=True)
    run.write_config(config.content())
    text = history.write(rows)
    run.history_file.write_text(text)
    session: dict[str, Any] = {
        "from": 0,
        "to": rows[-1].iteration,
        "seconds": 30.0 * config.model.depth,
        "started": "2026-01-01T00:00:00+00:00",
        "device": "cuda:0",
        "device_name": "NVIDIA H200",
        "precision": precision,
        "threads": 16,
        "python": "3.11.7",
        "torch": "2.15.0",
        "cuda": "13.0",
        "cudnn": 91400,
        "engine": "eager",
        "deterministic": False,
        "resexp": "0.1.0",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "dirty": False,
    }
    data = {"name": config.data.name, "digest": "d", "classes": 10, "train_images": 50_000, "test_images": 10_000}
    written: dict[str, Any] = {
        "state": state,
        "iteration": rows[-1].iteration,
        "iterations": config.recipe.iterations,
        "rows": len(rows),
        "history_sha256": digest(text),
        "data": data,
        "sessions": [session],
    }
    if state == FINISHED:
        error = history.running_error(rows, config.recipe.iterations)
        written["final"] = {"running_error": error, "test_error": rows[-1].test_error}
    run.write_record(Record(**(written | record)))

"""Which networks of a group a diagnosis measures, and which it leaves out and why. No torch here."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resexp.analysis.study import Group, StudyRun, title
from resexp.config.compose import compose
from resexp.config.presets import conf_dir
from resexp.config.settings import ModelConfig, check_seed, require
from resexp.diagnose.table import CHECKPOINT, INITIALISATION, PLAIN, RESIDUAL, SNAPSHOT, Subject, why_not
from resexp.errors import UserError
from resexp.storage.run import Run

INITIAL_NETWORKS = ["plain20", "plain56", "plain110", "resnet20", "resnet56", "resnet110"]
"""Whose gradients at initialisation are measured, trained or not: the depths of the paper's question."""

KEEP = "snapshots=true keeps those of evaluations (fresh=true trains a finished run again)"


@dataclass(frozen=True)
class Job:
    """One network to measure on `count` images; `run` is None for initial weights."""

    subject: Subject
    model: ModelConfig
    run: StudyRun | None
    count: int


@dataclass
class Choice:
    """Which networks are measured on how many images. Of networks, seeds and iterations, None stands for all."""

    networks: list[str] | None
    seeds: list[int] | None
    initial_seeds: list[int]
    iterations: list[int] | None
    batch_size: int
    lesion_images: int
    """0: all test images."""
    scales: list[float]
    """Of the initial weights of networks without norm."""
    images_without_norm: int

    def __post_init__(self) -> None:
        require(self.networks != [], "networks", "[]", "name some, or leave it out")
        require(self.seeds != [], "seeds", "[]", "name some, or leave it out")
        for name, seeds in (("seeds", self.seeds or []), ("initial_seeds", self.initial_seeds)):
            for seed in seeds:
                check_seed(seed, name)
        for iteration in self.iterations or []:
            require(iteration >= 1, "iterations", iteration, "must be 1 or more")
        require(self.batch_size >= 2, "batch_size", self.batch_size, "must be 2 or more")
        for scale in self.scales:
            require(0 < scale < math.inf, "scales", scale, "must be finite and above 0; 1 keeps He weights")
        require(self.images_without_norm >= 1, "images_without_norm", self.images_without_norm, "must be 1 or more")
        require(self.lesion_images >= 0, "lesion_images", self.lesion_images, "0 (all test images) or more")


@dataclass(frozen=True)
class Selection:
    """One diagnosis of the chosen networks of one group of the runs in `folder`."""

    diagnosis: str
    group: Group
    folder: Path
    data: dict[str, Any]
    """The group's data set: digest, train_images, test_images."""
    choice: Choice

    def count(self, norm: str) -> int:
        """How many images a network is measured on.

        Gradients without norm take few: images do not act on each other there, and float64 is slow.
        """
        train, test = self.data["train_images"], self.data["test_images"]
        if self.diagnosis == "gradients":
            return min(self.choice.batch_size if norm == "batch" else self.choice.images_without_norm, train)
        return train if self.diagnosis == "responses" else min(self.choice.lesion_images or test, test)

    def images(self, norm: str) -> str:
        """Those images in words."""
        count = self.count(norm)
        if self.diagnosis == "gradients":
            return f"the first mini-batch of {count} training images"
        return f"all {count:,} training images" if self.diagnosis == "responses" else f"{count:,} test images"

    def jobs(self) -> tuple[list[Job], list[str]]:
        """The networks to measure, and a line for each that is left out.

        Raises UserError where a network that was named cannot be measured, or no run kept its weights after an
        iteration that was named.
        """
        left_out: list[str] = []
        trained = self.trained(left_out)
        if self.diagnosis != "gradients":
            return trained, left_out
        weights = [one for job in trained for one in self.during_training(job, left_out)]
        for iteration in set(self.choice.iterations or []) - {job.subject.iteration for job in weights}:
            raise UserError(f"iterations={iteration}: no finished run kept its weights then; {KEEP}")
        return self.initial() + weights, left_out

    def initial(self) -> list[Job]:
        """Networks with their initial weights, with batch norm and, at each scale, without.

        Raises UserError for unknown names.
        """
        jobs: list[Job] = []
        for name in self.choice.networks or INITIAL_NETWORKS:
            network = self.group.network(name)
            if network is None and not (conf_dir() / "model" / f"{name}.yaml").exists():
                raise UserError(f"networks={name}: neither among the runs nor a preset; see resexp models")
            model = ModelConfig(**network.model) if network else compose(f"model={name}").model
            kinds = [("batch", 1.0)] if model.norm == "batch" else []  # batch norm takes any scale out again
            kinds += [("none", scale) for scale in dict.fromkeys(self.choice.scales)]
            jobs += [
                self.job(name, replace(model, norm=norm), seed, scale=scale)
                for seed in self.choice.initial_seeds
                for norm, scale in kinds
            ]
        return jobs

    def trained(self, left_out: list[str]) -> list[Job]:
        """Networks at the end of their runs; a line for each that is left out is added.

        Responses and lesions need networks that have trained; gradients are also of those that did not. Raises
        UserError as `jobs` does.
        """
        jobs: list[Job] = []
        needs_training = self.diagnosis != "gradients"
        for name in self.choice.networks or []:
            if needs_training and self.group.network(name) is None:
                where = f"{self.group.data}/{self.group.recipe}"
                raise UserError(f"networks={name}: no run of it in {where}; train it first, or choose with group=")
        for network in self.group.networks:
            if self.choice.networks is not None and network.name not in self.choice.networks:
                continue
            runs = {run.seed: run for run in network.runs}
            for seed in runs if self.choice.seeds is None else self.choice.seeds:
                problem = why_not(runs.get(seed), needs_training)
                if problem is None:
                    jobs.append(self.job(network.name, ModelConfig(**network.model), seed, runs[seed]))
                elif self.choice.networks is not None and needs_training:
                    raise UserError(f"networks={network.name}: seed {seed} cannot be diagnosed ({problem})")
                else:
                    left_out.append(f"{title(network.name)} seed {seed}: {problem}")
        return jobs

    def during_training(self, job: Job, left_out: list[str]) -> list[Job]:
        """A run at each chosen iteration whose weights were kept; a line for each that is left out is added."""
        assert job.run is not None
        kept, end = Run(self.folder / job.run.path).snapshots(), job.subject.iteration
        jobs: list[Job] = []
        for iteration in [*kept, end] if self.choice.iterations is None else sorted(set(self.choice.iterations)):
            if iteration == end:
                jobs.append(job)
            elif iteration in kept:
                jobs.append(replace(job, subject=replace(job.subject, source=SNAPSHOT, iteration=iteration)))
            else:
                what = f"{title(job.subject.network)} seed {job.subject.seed}"
                left_out.append(f"{what}: its weights after {iteration:,} iterations were not kept; {KEEP}")
        return jobs

    def job(self, name: str, model: ModelConfig, seed: int, run: StudyRun | None = None, scale: float = 1.0) -> Job:
        """One network, at the end of a run or with its initial weights."""
        subject = Subject(
            network=name,
            family=RESIDUAL if model.residual else PLAIN,
            depth=model.depth,
            norm=model.norm,
            seed=seed,
            source=CHECKPOINT if run else INITIALISATION,
            iteration=run.reached if run else 0,
            images=self.images(model.norm),
            data_sha256=self.data["digest"],
            history_sha256=run.record.history_sha256 if run else "",
            scale=scale,
        )
        return Job(subject, model, run, self.count(model.norm))

"""Which networks of a group a diagnosis measures, and which it leaves out and why. No torch here."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resexp.analysis.study import Group, StudyRun, title
from resexp.config.compose import compose
from resexp.config.presets import conf_dir
from resexp.config.settings import Chosen, ModelConfig, check_seed, require
from resexp.diagnose.table import (
    BUILT_FROM,
    CHECKPOINT,
    INITIALISATION,
    PLAIN,
    RESIDUAL,
    SNAPSHOT,
    Subject,
    why_not,
)
from resexp.errors import UserError
from resexp.formatting import listed
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
    shallower: ModelConfig | None = None
    """The network that `run` trained, where that of `model` is built from it."""


@dataclass
class Choice(Chosen):
    """Which networks are measured on how many images. Of iterations, None stands for all."""

    initial_seeds: list[int]
    iterations: list[int] | None
    batch_size: int
    lesion_images: int
    """0: all test images."""
    scales: list[float]
    """Of the initial weights of networks without norm."""
    images_without_norm: int
    depths: list[int] | None
    """Of the networks to build; None: those that are among the runs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for seed in self.initial_seeds:
            check_seed(seed, "initial_seeds")
        for iteration in self.iterations or []:
            require(iteration >= 1, "iterations", iteration, "must be 1 or more")
        require(self.batch_size >= 2, "batch_size", self.batch_size, "must be 2 or more")
        for scale in self.scales:
            require(0 < scale < math.inf, "scales", scale, "must be finite and above 0; 1 keeps He weights")
        require(self.images_without_norm >= 1, "images_without_norm", self.images_without_norm, "must be 1 or more")
        require(self.lesion_images >= 0, "lesion_images", self.lesion_images, "0 (all test images) or more")
        require(self.depths != [], "depths", "[]", "name some, or leave it out")
        for depth in self.depths or []:
            require(depth >= 8 and depth % 6 == 2, "depths", depth, "a depth is 6n + 2, such as 20 or 56")


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
        return min(self.choice.lesion_images or test, test) if self.diagnosis == "lesions" else train

    def images(self, norm: str) -> str:
        """Those images in words."""
        count = self.count(norm)
        if self.diagnosis == "gradients":
            return f"the first mini-batch of {count} training images"
        if self.diagnosis == "lesions":
            return f"{count:,} test images"
        tested = f" and {self.data['test_images']:,} test" if self.diagnosis == "construction" else ""
        return f"all {count:,} training{tested} images"

    def jobs(self) -> tuple[list[Job], list[str]]:
        """The networks to measure, and a line for each that is left out.

        Raises UserError where a network that was named cannot be measured, or no run kept its weights after an
        iteration that was named.
        """
        left_out: list[str] = []
        trained = self.trained(left_out)
        if self.diagnosis == "construction":
            return self.constructions(trained, left_out), left_out
        if self.diagnosis != "gradients":
            return trained, left_out
        weights = [one for job in trained for one in self.during_training(job, left_out)]
        for iteration in set(self.choice.iterations or []) - {job.subject.iteration for job in weights}:
            raise UserError(f"iterations={iteration}: no finished run kept its weights then; {KEEP}")
        return self.initial() + weights, left_out

    def initial(self) -> list[Job]:
        """Networks with initial weights drawn from a seed, with batch norm and, at each scale, without.

        Raises UserError for unknown names.
        """
        jobs: list[Job] = []
        for name in self.choice.model or INITIAL_NETWORKS:
            network = self.group.network(name)
            if network is None and not (conf_dir() / "model" / f"{name}.yaml").exists():
                raise UserError(f"model={name}: neither among the runs nor a preset; see resexp models")
            model = ModelConfig(**network.model) if network else compose(f"model={name}").model
            if model.start:
                continue
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

        Responses and lesions need networks that have trained; gradients and errors are also of those that did not.
        Raises UserError as `jobs` does.
        """
        jobs: list[Job] = []
        needs_run, needs_training = self.diagnosis != "gradients", self.diagnosis in ("responses", "lesions")
        for name in self.choice.model or []:
            if needs_run and self.group.network(name) is None:
                where = f"{self.group.data}/{self.group.recipe}"
                raise UserError(f"model={name}: no run of it in {where}; train it first, or choose with group=")
        for network in self.group.networks:
            if self.choice.model is not None and network.name not in self.choice.model:
                continue
            runs = {run.seed: run for run in network.runs}
            for seed in runs if self.choice.seed is None else self.choice.seed:
                problem = why_not(runs.get(seed), needs_training)
                if problem is None:
                    jobs.append(self.job(network.name, ModelConfig(**network.model), seed, runs[seed]))
                elif self.choice.model is not None and needs_run:
                    raise UserError(f"model={network.name}: seed {seed} cannot be diagnosed ({problem})")
                else:
                    left_out.append(f"{title(network.name)} seed {seed}: {problem}")
        return jobs

    def constructions(self, trained: list[Job], left_out: list[str]) -> list[Job]:
        """Shallower networks, the deeper ones built from each, and the deeper ones of the same seed that were trained.

        Built from are those of `trained` that are named, else the shallowest of each kind. A line is added for each
        that has no deeper one. Raises UserError for a depth that is deeper than none of them.
        """
        jobs: dict[Subject, Job] = {}
        sources = trained if self.choice.model else shallowest([job for job in trained if not job.model.start])
        for depth in self.choice.depths or []:
            if sources and all(depth <= source.model.depth for source in sources):
                names = listed(list(dict.fromkeys(title(source.subject.network) for source in sources)), "or")
                raise UserError(f"depths={depth}: not deeper than {names}; name a greater depth, or others with model=")
        for source in sources:
            deeper = self.deeper(source.model)
            for name, model in deeper.items():
                run, seed = source.run, source.subject.seed
                assert run is not None
                found = self.group.network(name)
                built = self.job(name, model, seed, run, BUILT_FROM + source.subject.network)
                for job in [source, replace(built, shallower=source.model)]:
                    jobs[job.subject] = job
                for own in found.runs if found else []:
                    if own.seed == seed and why_not(own, False) is None:
                        job = self.job(name, model, seed, own)
                        jobs[job.subject] = job
            if not deeper:
                what = (
                    "no deeper network of its kind among the runs" if not self.choice.depths else "no depth of its kind"
                )
                builds = f"depths={source.model.depth + 3 * math.lcm(2, source.model.skip)} builds one"
                left_out.append(f"{title(source.subject.network)}: {what}; {builds}")
        return list(jobs.values())

    def deeper(self, model: ModelConfig) -> dict[str, ModelConfig]:
        """The networks to build from one, by their names."""
        there = [(network.name, ModelConfig(**network.model)) for network in self.group.networks]
        known = {other.depth: (name, other) for name, other in there if other.kind == model.kind}
        depths = self.choice.depths or sorted(known)
        fitting = (depth for depth in depths if depth > model.depth and (depth - 2) // 3 % model.skip == 0)
        return dict(known.get(depth) or of_depth(model, depth) for depth in fitting)

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

    def job(
        self,
        name: str,
        model: ModelConfig,
        seed: int,
        run: StudyRun | None = None,
        source: str = "",
        scale: float = 1.0,
    ) -> Job:
        """One network, at the end of a run or with its initial weights, unless another `source` is given."""
        subject = Subject(
            network=name,
            family=RESIDUAL if model.residual else PLAIN,
            depth=model.depth,
            norm=model.norm,
            seed=seed,
            source=source or (CHECKPOINT if run else INITIALISATION),
            iteration=run.reached if run else 0,
            images=self.images(model.norm),
            data_sha256=self.data["digest"],
            history_sha256=run.record.history_sha256 if run else "",
            scale=scale,
        )
        return Job(subject, model, run, self.count(model.norm))


def shallowest(trained: list[Job]) -> list[Job]:
    """Those of the least depth of their kind, whatever their seed."""
    return [
        one
        for one in trained
        if one.model.depth == min(job.model.depth for job in trained if job.model.kind == one.model.kind)
    ]


def of_depth(model: ModelConfig, depth: int) -> tuple[str, ModelConfig]:
    """A network of the same kind and its name, that of a preset where there is one of this depth."""
    preset = f"{model.name.rstrip('0123456789')}{depth}"
    name = preset if (conf_dir() / "model" / f"{preset}.yaml").exists() else model.name
    settings = [f"model.{key}={value}" for key, value in model.kind.items() if key != "start"]
    config = compose(f"model={name}", f"model.depth={depth}", *settings)
    return config.labels["model"], config.model

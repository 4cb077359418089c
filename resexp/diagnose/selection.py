"""Which networks of a group a diagnosis measures, and which it leaves out and why. No torch here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from resexp.analysis.study import Group, StudyRun, title
from resexp.config.compose import compose
from resexp.config.presets import conf_dir
from resexp.config.settings import ModelConfig
from resexp.diagnose.table import CHECKPOINT, INITIALISATION, PLAIN, RESIDUAL, SNAPSHOT, Subject, why_not
from resexp.errors import UserError
from resexp.storage.run import Run

INITIAL_NETWORKS = ("plain20", "plain56", "plain110", "resnet20", "resnet56", "resnet110")
"""Whose gradients at initialisation are looked at: the paper's question, whether or not they were trained."""


KEEP = "snapshots=true keeps those of evaluations (fresh=true trains a finished run anew)"


@dataclass(frozen=True)
class Job:
    """One network to measure on `count` images; `run` is None for initial weights."""

    subject: Subject
    model: ModelConfig
    run: StudyRun | None
    count: int


@dataclass(frozen=True)
class Selection:
    """One diagnosis of one group of the runs in `folder`, whose images are known by digest and number."""

    diagnosis: str
    group: Group
    folder: Path
    data_sha256: str
    train_images: int
    test_images: int
    batch_size: int
    lesion_images: int
    """0: all test images."""

    @property
    def count(self) -> int:
        """How many images a network is shown."""
        if self.diagnosis == "gradients":
            return min(self.batch_size, self.train_images)
        if self.diagnosis == "responses":
            return self.train_images
        return min(self.lesion_images or self.test_images, self.test_images)

    @property
    def images(self) -> str:
        """What it is shown, in words."""
        if self.diagnosis == "gradients":
            return f"the first mini-batch of {self.count} training images"
        return f"all {self.count:,} training images" if self.diagnosis == "responses" else f"{self.count:,} test images"

    def jobs(
        self,
        networks: list[str] | None,
        seeds: list[int] | None,
        initial_seeds: list[int],
        iterations: list[int] | None = None,
    ) -> tuple[list[Job], list[str]]:
        """The networks to measure, and a line for each that is left out; None is all that there are.

        Raises UserError where a network that is asked for by name cannot be measured, or no run kept its weights after
        an iteration that is asked for.
        """
        trained, left_out = self.trained(networks, seeds)
        if self.diagnosis != "gradients":
            return trained, left_out
        on_the_way = [one for job in trained for one in self.on_the_way(job, iterations, left_out)]
        for iteration in set(iterations or []) - {job.subject.iteration for job in on_the_way}:
            raise UserError(f"iterations={iteration}: no finished run kept its weights then; {KEEP}")
        return self.initial(networks or INITIAL_NETWORKS, initial_seeds) + on_the_way, left_out

    def initial(self, names: Sequence[str], seeds: Sequence[int]) -> list[Job]:
        """Networks with their initial weights, with batch norm and without. Raises UserError for unknown names."""
        found: list[Job] = []
        for name in names:
            network = self.group.network(name)
            if network is None and not (conf_dir() / "model" / f"{name}.yaml").exists():
                raise UserError(f"networks={name}: neither among the runs nor a preset; see resexp models")
            model = ModelConfig(**network.model) if network else compose(f"model={name}").model
            for seed in seeds:
                found.append(self._job(name, model, seed, None))
                if model.norm != "none":
                    found.append(self._job(name, replace(model, norm="none"), seed, None))
        return found

    def trained(self, names: list[str] | None, seeds: list[int] | None) -> tuple[list[Job], list[str]]:
        """Networks at the end of their runs, and a line for each that is left out.

        Responses and lesions are of networks that have trained; gradients also of those that did not. Raises UserError
        as `jobs` does.
        """
        found: list[Job] = []
        left_out: list[str] = []
        needs_training = self.diagnosis != "gradients"
        for name in names or []:
            if needs_training and self.group.network(name) is None:
                where = f"{self.group.data}/{self.group.recipe}"
                raise UserError(f"networks={name}: no run of it in {where}; train it first, or choose with group=")
        for network in self.group.networks:
            if names is not None and network.name not in names:
                continue
            runs = {run.seed: run for run in network.runs}
            for seed in runs if seeds is None else seeds:
                problem = why_not(runs.get(seed), needs_training)
                if problem is None:
                    found.append(self._job(network.name, ModelConfig(**network.model), seed, runs[seed]))
                elif names is not None and needs_training:
                    raise UserError(f"networks={network.name}: seed {seed} cannot be diagnosed ({problem})")
                else:
                    left_out.append(f"{title(network.name)} seed {seed}: {problem}")
        return found, left_out

    def on_the_way(self, job: Job, iterations: list[int] | None, left_out: list[str]) -> list[Job]:
        """One run at each of some iterations whose weights were kept, or at all of them and at its end."""
        assert job.run is not None
        kept = Run(self.folder / job.run.path).snapshots()
        end = job.subject.iteration
        found: list[Job] = []
        for iteration in [*kept, end] if iterations is None else sorted(set(iterations)):
            if iteration == end:
                found.append(job)
            elif iteration in kept:
                found.append(replace(job, subject=replace(job.subject, source=SNAPSHOT, iteration=iteration)))
            else:
                what = f"{title(job.subject.network)} seed {job.subject.seed}"
                left_out.append(f"{what}: its weights after {iteration:,} iterations were not kept; {KEEP}")
        return found

    def _job(self, name: str, model: ModelConfig, seed: int, run: StudyRun | None) -> Job:
        subject = Subject(
            network=name,
            family=RESIDUAL if model.residual else PLAIN,
            depth=model.depth,
            norm=model.norm,
            seed=seed,
            source=CHECKPOINT if run else INITIALISATION,
            iteration=run.reached if run else 0,
            images=self.images,
            data_sha256=self.data_sha256,
            history_sha256=run.record.history_sha256 if run else "",
        )
        return Job(subject, model, run, self.count)

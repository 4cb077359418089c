"""Where the networks of a group are measured: its images, a device, and the weights of its runs."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resexp.analysis.study import Group
from resexp.config.settings import DataPlace, TrainSettings, recorded, with_data_dir
from resexp.data.batches import Images, Sampler, mean_image
from resexp.data.dataset import Dataset, Split
from resexp.data.load import load
from resexp.diagnose import gradients, lesions, responses
from resexp.diagnose.selection import Job
from resexp.diagnose.table import CHECKPOINT, Reading
from resexp.errors import UserError
from resexp.model.network import Network, build
from resexp.seeds import generator_of
from resexp.storage import checkpoint, history
from resexp.storage.run import Run, start_over
from resexp.training.device import Execution, prepare


@dataclass(frozen=True)
class Laboratory:
    """A group of the runs in `folder`; images and device are made ready when the first network needs them."""

    group: Group
    folder: Path
    device: str
    threads: int
    place: DataPlace

    @cached_property
    def config(self) -> TrainSettings:
        """The settings of one of the runs, to be executed here, in fp32: small differences are the subject.

        Raises UserError where they do not fit this program.
        """
        first = self.group.networks[0].runs[0]
        content = Run(self.folder / first.path).config()
        config = recorded(content["result"], content.get("execution", {}))
        config = replace(config, device=self.device, threads=self.threads, precision="fp32")
        return with_data_dir(config, self.place.dir)

    @cached_property
    def execution(self) -> Execution:
        """Device and threads. Raises UserError for what this machine does not have."""
        return prepare(self.config)

    @cached_property
    def data(self) -> Dataset:
        """The group's images. Raises UserError where they are not those that its runs were trained on."""
        data = load(self.config.data)
        if self.recorded_data and self.recorded_data["digest"] != data.digest:
            raise UserError(
                f"data={data.name}: not the images of the runs in {self.group.data}; is data.dir=PATH right?"
            )
        return data

    @cached_property
    def recorded_data(self) -> dict[str, Any]:
        """What the runs noted about their images; empty where none came so far."""
        runs = [run for network in self.group.networks for run in network.runs]
        return next((run.record.data for run in runs if run.record.data.get("digest")), {})

    @cached_property
    def facts(self) -> tuple[str, int, int]:
        """Digest of the images, number of training images, of test images; without loading them if it can be."""
        if {"digest", "train_images", "test_images"} <= self.recorded_data.keys():
            return tuple(self.recorded_data[key] for key in ("digest", "train_images", "test_images"))
        return self.data.digest, len(self.data.train), len(self.data.test)

    @cached_property
    def mean(self) -> Tensor:
        """The mean training image."""
        return mean_image(self.data.train)

    def batch(self, seed: int, size: int) -> tuple[Tensor, Tensor]:
        """The first mini-batch that a run of this seed and batch size sees, cropped and flipped as there."""
        recipe, device, train = self.config.recipe, self.execution.device, self.data.train
        picks = Sampler(seed, len(train), size, recipe.pad, recipe.flip, device).batch(1)
        return Images.of(train, self.mean, recipe.pad, device).gather(picks)

    def test_images(self, count: int) -> Images:
        """`count` test images, the same for every network."""
        test = self.data.test
        picks = torch.randperm(len(test), generator=generator_of("lesions", "images"))[:count]
        return Images.of(Split(test.images[picks], test.labels[picks]), self.mean, 0, self.execution.device)

    def network(self, job: Job) -> Network:
        """The network with its weights. Raises UserError where those that were kept are not of the run's curve."""
        network, at = build(job.model, job.subject.seed, len(self.data.classes), self.execution.device), job.subject
        if job.run is not None:
            run = Run(self.folder / job.run.path)
            remedy = start_over(run)
            files = run.checkpoint_files if at.source == CHECKPOINT else [run.snapshot_file(at.iteration)]
            state = checkpoint.load_newest(files, job.run.result, remedy)
            if state is None:
                raise UserError(f"{run}: no checkpoint there; {remedy}")
            if state["rows"] != history.write([row for row in job.run.rows if row.iteration <= at.iteration]):
                raise UserError(f"{run}: its weights after {at.iteration:,} iterations are not of its curve; {remedy}")
            network.load_state_dict(state["network"])
        return network

    def measure(self, diagnosis: str, job: Job) -> list[Reading]:
        """All numbers of one diagnosis of one network. Raises UserError where it cannot be had."""
        network, seed = self.network(job), job.subject.seed
        if diagnosis == "gradients":
            return gradients.measure(network, *self.batch(seed, job.count))
        if diagnosis == "responses":
            images = Images.of(self.data.train, self.mean, 0, self.execution.device)
            return responses.measure(network, images, self.execution)
        return lesions.measure(network, self.test_images(job.count), self.execution, seed)

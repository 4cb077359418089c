"""What the networks of a group are measured with: its images, a device, and the weights of its runs."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from resexp.analysis.study import Group, StudyRun
from resexp.config.settings import TrainSettings, differing, recorded, with_data_dir
from resexp.data.batches import Images, Sampler, mean_image
from resexp.data.dataset import Dataset, Split
from resexp.data.load import load
from resexp.diagnose import construction, gradients, lesions, responses
from resexp.diagnose.selection import Job
from resexp.diagnose.table import SNAPSHOT, Reading, Subject
from resexp.errors import UserError
from resexp.model.network import Network, build
from resexp.seeds import generator_of
from resexp.storage import checkpoint, history, note
from resexp.storage.run import Run, start_over
from resexp.system.files import writing_to
from resexp.training import weights
from resexp.training.device import Execution, prepare


@dataclass(frozen=True)
class Setup:
    """For a group of the runs in `folder`; images and device are prepared when the first network needs them."""

    group: Group
    folder: Path
    device: str
    threads: int
    data_dir: str | None
    weights: Path | None = None
    """Folder of exported weights, for runs whose checkpoints are gone."""
    save: Path | None = None
    """Folder for the weights of what is built."""

    @cached_property
    def config(self) -> TrainSettings:
        """The settings of one of the runs, to be executed here, in fp32: small differences are the subject.

        Raises UserError where they do not fit this program.
        """
        content = Run(self.folder / self.group.networks[0].runs[0].path).config()
        config = with_data_dir(recorded(content["result"], content["execution"]), self.data_dir)
        return replace(config, device=self.device, threads=self.threads, precision="fp32")

    @cached_property
    def execution(self) -> Execution:
        """Device and threads. Raises UserError for what this machine does not have."""
        return prepare(self.config)

    @cached_property
    def data(self) -> Dataset:
        """The group's images. Raises UserError where they are not those that its runs were trained on."""
        data = load(self.config.data)
        if self.group.images.get("digest", data.digest) != data.digest:
            raise UserError(
                f"data={data.name}: not the images of the runs in {self.group.data}; is data.dir=PATH right?"
            )
        return data

    @cached_property
    def images(self) -> dict[str, Any]:
        """Digest, train_images and test_images; they are loaded only where no run recorded them."""
        if self.group.images:
            return self.group.images
        data = self.data
        return {"digest": data.digest, "train_images": len(data.train), "test_images": len(data.test)}

    def network(self, job: Job) -> Network:
        """The network with its weights, initial, trained, or built from trained ones. Raises UserError as `trained`."""
        trained = job.shallower or job.model
        network = build(trained, job.subject.seed, len(self.data.classes), self.execution.device)
        if job.run is None:
            gradients.scale_weights(network, job.subject.scale)
        else:
            network.load_state_dict(self.trained(job.run, job.subject))
        if job.shallower is None:
            return network
        return construction.deepen(network, job.model, job.subject.seed, self.train_images, self.execution)

    def trained(self, found: StudyRun, subject: Subject) -> dict[str, torch.Tensor]:
        """The weights of a run, or where its checkpoints are gone those that were exported.

        Raises UserError where there are none, or they are not of the run's curve.
        """
        run = Run(self.folder / found.path)
        files = [run.snapshot_file(subject.iteration)] if subject.source == SNAPSHOT else run.checkpoint_files
        state = checkpoint.load_newest(files, found.result, start_over(run))
        if state is None and self.weights is not None:
            return self.exported(found, self.weights / weights.file_name(found.labels, found.seed))
        if state is None:
            exported = "weights=FOLDER names that of its exported weights"
            raise UserError(f"{run}: no checkpoint there; {exported}, or {start_over(run)}")
        if state["rows"] != history.write([row for row in found.rows if row.iteration <= subject.iteration]):
            problem = f"its weights after {subject.iteration:,} iterations are not of its curve"
            raise UserError(f"{run}: {problem}; {start_over(run)}")
        return state["network"]

    def exported(self, found: StudyRun, path: Path) -> dict[str, torch.Tensor]:
        """The exported weights of a run. Raises UserError where they are not there or of another run."""
        trained = weights.load_file(path)
        known = note.holds(path, history_sha256=found.record.history_sha256)
        other = differing(trained.config.result() | {"data": {}}, found.result | {"data": {}})  # whose folder may move
        if not known or other or trained.iteration != found.iterations:
            raise UserError(f"weights={path}: not of the run {found.path}; export it again")
        return trained.network

    @cached_property
    def train_images(self) -> Images:
        """All training images as they are."""
        return Images.of(self.data.train, mean_image(self.data.train), 0, self.execution.device)

    def built_file(self, job: Job) -> Path | None:
        """Where the weights of what is built are saved; None where they are not, or nothing is built."""
        if self.save is None or job.shallower is None:
            return None
        name = f"{job.subject.network}-from-{job.shallower.depth}-seed{job.subject.seed}.pt"
        return self.save / self.group.data / self.group.recipe / name

    def save_built(self, job: Job, network: Network, path: Path) -> None:
        """Write what was built, as `resexp export` writes weights, after 0 iterations. Raises UserError where not."""
        assert job.run is not None
        content = Run(self.folder / job.run.path).config()
        content["labels"]["model"], content["result"]["model"] = job.subject.network, job.model.result()
        config = recorded(content["result"], content["execution"])
        built = weights.Trained(str(path), config, 0, self.data.digest, network.state_dict(), "fp32")
        with writing_to("save"):
            path.parent.mkdir(parents=True, exist_ok=True)
            weights.save(built, content, self.data.classes, "fp32", path, limited=False)

    def precision(self, diagnosis: str, job: Job) -> str:
        """fp32; without norm fp64 for gradients, which a hundred layers take out of fp32's range."""
        return "fp64" if (diagnosis, job.model.norm) == ("gradients", "none") else self.execution.precision

    def measure(self, diagnosis: str, job: Job) -> list[Reading]:
        """All numbers of one diagnosis of one network. Raises UserError where it cannot be measured or saved.

        Gradients are of the first mini-batch that a run of this seed and batch size sees, cropped and flipped as there;
        lesions of test images that are the same for every network.
        """
        network, seed, device = self.network(job), job.subject.seed, self.execution.device
        train, test, recipe = self.data.train, self.data.test, self.config.recipe
        mean = mean_image(train)
        if diagnosis == "gradients":
            picks = Sampler(seed, len(train), job.count, recipe.pad, recipe.flip, device).batch(1)
            images, labels = Images.of(train, mean, recipe.pad, device)(picks)
            if self.precision(diagnosis, job) == "fp64":
                if device.type == "mps":
                    raise UserError("device=mps: has no float64, which gradients without norm need; use device=cpu")
                network, images = network.double(), images.double()
            return gradients.measure(network, images, labels)
        if diagnosis == "responses":
            return responses.measure(network, self.train_images, self.execution)
        if diagnosis == "construction":
            if (path := self.built_file(job)) is not None:
                self.save_built(job, network, path)
            return construction.measure(network, self.train_images, Images.of(test, mean, 0, device), self.execution)
        chosen = torch.randperm(len(test), generator=generator_of("lesions", "images"))[: job.count]
        images = Images.of(Split(test.images[chosen], test.labels[chosen]), mean, 0, device)
        return lesions.measure(network, images, self.execution, seed)

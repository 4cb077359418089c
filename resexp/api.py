"""What a notebook or a program uses: settings, training, runs, verdicts, trained networks and figures."""

import torch

from resexp.analysis.claims import Claim, claims
from resexp.analysis.compare import Comparison, compare
from resexp.analysis.study import Group, NetworkRuns, Study, StudyRun
from resexp.analysis.study import existing_runs as load_runs
from resexp.analysis.verdict import Contrast, Verdict, depth_contrast, judge
from resexp.config.compose import compose
from resexp.config.settings import Config
from resexp.data.batches import Images, mean_image
from resexp.data.load import load
from resexp.errors import UserError
from resexp.report.draw import draw_onto
from resexp.report.figures import figure1, figure6
from resexp.training.train import train
from resexp.training.weights import load_network

__all__ = [
    "Claim",
    "Comparison",
    "Config",
    "Contrast",
    "Group",
    "NetworkRuns",
    "Study",
    "StudyRun",
    "UserError",
    "Verdict",
    "claims",
    "compare",
    "compose",
    "depth_contrast",
    "draw_onto",
    "figure1",
    "figure6",
    "images_seen",
    "judge",
    "load_network",
    "load_runs",
    "train",
]


def images_seen(config: Config, split: str = "test") -> tuple[torch.Tensor, torch.Tensor]:
    """A split as evaluated networks see it: float32 images (N, 3, H, W), the mean image subtracted, and labels (N,).

    `split`: train, test, or validation where images were held out. Raises UserError where it cannot be read.
    """
    data = load(config.data)
    chosen = {"train": data.train, "test": data.test, "validation": data.validation}.get(split)
    if chosen is None:
        raise UserError(f"split={split}: not there; choose train or test, or validation where images were held out")
    return Images.of(chosen, mean_image(data.train), 0, torch.device("cpu")).plain(0, len(chosen))

"""The weights that training begins with where they come from a file: those of the same network and the same images."""

import torch

from resexp.config.settings import Config, ModelConfig, expand, start_id, typed
from resexp.data.dataset import Dataset
from resexp.errors import UserError, first_line
from resexp.model.network import build
from resexp.storage import checkpoint
from resexp.system.files import file_digest

SHAPE = ("depth", "residual", "shortcut", "width", "norm", "skip")
"""The settings of a network that say what its weights mean."""


def load(config: Config, data: Dataset) -> dict[str, torch.Tensor] | None:
    """Weights and batch-norm statistics from `config.start`, float32; None where training begins with the seed's own.

    The file is one of exported or built weights, or a run's checkpoint, of whose optimizer nothing is taken over.
    Raises UserError where it is none of these, or of another network or other images.
    """
    if config.start is None:
        return None
    state = checkpoint.load_named(expand("start", config.start), "start")
    where = f"start={config.start}"
    try:
        result, digest = state.get("result") or state["config"]["result"], state.get("images") or state.get("digest")
        theirs, tensors = typed(ModelConfig, result["model"]), state["network"]
        checkpoint.tensors(tensors, "network")
    except (LookupError, TypeError, AttributeError, ValueError, UserError) as error:
        raise UserError(f"{where}: holds no weights of a network of this program") from error
    if start_id(config.start) != config.model.start:
        raise UserError(f"{where}: has changed since the run was named after it; give the command again")
    ours = config.model
    if others := [key for key in SHAPE if getattr(theirs, key) != getattr(ours, key)]:
        named = ", ".join(f"model.{key} {getattr(theirs, key)} instead of {getattr(ours, key)}" for key in others)
        raise UserError(f"{where}: weights of another network ({named})")
    if digest not in (None, data.digest):
        raise UserError(
            f"{where}: trained on other images than those of data={data.name}; name that data set and its settings"
        )
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise UserError(f"{where}: a weight is not finite")
    weights = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    try:
        build(ours, config.seed, len(data.classes), torch.device("cpu")).load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{where}: does not fit {ours.name} ({first_line(error)})") from error
    return weights


def origin(config: Config) -> dict[str, str]:
    """What run.json says of the file: its path as it was given, and its SHA-256; nothing where there is none."""
    return {"file": config.start, "sha256": file_digest(expand("start", config.start))} if config.start else {}

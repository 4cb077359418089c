"""Which runs of a sweep can train in one process, and when that pays."""

from contextlib import suppress

from resexp.config.settings import Config
from resexp.errors import UserError
from resexp.training.importing import import_training

SHARED = ("device", "precision", "deterministic", "threads")
"""Settings that PyTorch keeps for the whole process."""


def refuse_what_differs(configs: list[Config]) -> None:
    """Raise UserError where two runs want different things of the process."""
    for name in SHARED:
        wanted = {str(getattr(config, name)) for config in configs}
        if len(wanted) > 1:
            several = ",".join(sorted(wanted))
            raise UserError(f"{name}={several}: hydra/launcher=streams needs one for all runs; sweep it without")


def worthwhile(configs: list[Config]) -> bool:
    """Whether these runs should share a device: on a GPU several do the work of up to two (docs/speed.md)."""
    if len(configs) < 2 or configs[0].device == "cpu":
        return False
    with suppress(UserError):  # for runs of which each will say it
        refuse_what_differs(configs)
        import_training(configs[0])
        from resexp.training.device import prepare

        return prepare(configs[0]).device.type == "cuda"
    return False

"""Importing PyTorch, over a second, made to cost less. No torch here."""

import gc
import sys
from importlib import import_module

from resexp.config.settings import Config, OfficialConfig
from resexp.system.memory import no_collection


def import_training(config: Config) -> None:
    """Import what trains, and PyTorch with it, while a thread reads the images; nothing if that is done already."""
    if "torch" in sys.modules:
        return
    if isinstance(config.data, OfficialConfig):
        from resexp.data.files import read_ahead

        read_ahead(config.data)
    # Two hundred thousand objects that stay: to look through them for garbage takes a tenth of a second each time.
    with no_collection():
        import_module("resexp.training.train")
        gc.freeze()

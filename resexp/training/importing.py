"""Importing PyTorch, over a second, made to cost less. No torch here."""

import sys
from importlib import import_module

from resexp.config.settings import Config, OfficialConfig
from resexp.system.memory import for_good


def import_training(config: Config) -> None:
    """Import what trains, and PyTorch with it, while a thread reads the images; nothing if that is done already."""
    if "torch" in sys.modules:
        return
    if isinstance(config.data, OfficialConfig):
        from resexp.data.files import read_ahead

        read_ahead(config.data)
    with for_good():
        import_module("resexp.training.train")

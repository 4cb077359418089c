"""Random numbers: a generator for each purpose, on the CPU, so that every device sees the same."""

import hashlib

import torch


def generator_of(*key: object) -> torch.Generator:
    """A CPU generator that depends on the key alone: generator_of("plan", seed, epoch)."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)

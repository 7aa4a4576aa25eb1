"""Where and with what a leak test is measured: threads, device, versions, and how much the model can read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Final

import torch

__all__ = ["device_name", "longest", "packages", "threads_of", "where_of"]

_PACKAGES: Final = ("peft", "safetensors", "tokenizers", "torch", "transformers")


@contextmanager
def threads_of(count: int | None) -> Iterator[int]:
    """Set the number of compute threads for the block, if one is given; yield the number in force."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def where_of(device: str | None) -> str:
    """Return the device given, else the GPU if there is one, else the CPU."""
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def device_name(where: str) -> str:
    """Return what a record says of a device."""
    return torch.cuda.get_device_name() if where.startswith("cuda") else where


def packages() -> dict[str, str]:
    """Return the versions of the libraries that decide the last digits."""
    return {name: version(name) for name in _PACKAGES}


def longest(model: Any) -> int:
    """Return the most tokens a model can read."""
    return int(getattr(model.config, "max_position_embeddings", 0) or 2048)

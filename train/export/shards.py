"""Safetensors files of a base: which weights lie where, read in blocks of rows, and written in the same layout."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from governance_hooks.errors import BadInput
from train.export.arithmetic import CHUNK, DTYPES

__all__ = ["INDEX", "ShardWriter", "Weight", "blocks", "layout"]

INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.safetensors")
_LONGEST_INDEX = 64_000_000


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor of a model and the file it lies in."""

    name: str
    shard: str
    dtype: str
    """As safetensors writes it: F32, BF16 or F16."""
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self.shape) * DTYPES[self.dtype].itemsize

    @property
    def width(self) -> int:
        """Elements of one row."""
        return prod(self.shape[1:])


def _read_index(folder: Path) -> dict[str, str]:
    path = folder / INDEX
    if path.stat().st_size > _LONGEST_INDEX:
        raise BadInput(f"{path} is too long", value=path.stat().st_size, allowed=f"{_LONGEST_INDEX} bytes")
    try:
        weight_map = json.loads(path.read_bytes())["weight_map"]
        listed = {str(name): str(shard) for name, shard in weight_map.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"{path} has no weight_map") from error
    odd = sorted(shard for shard in set(listed.values()) if not _SHARD.fullmatch(shard) or not (folder / shard).is_file() or (folder / shard).is_symlink())
    if odd or not listed:
        raise BadInput(f"{path} names a file that is no shard of this folder", value=odd[:1], allowed="safetensors files beside it")
    return listed


def layout(folder: Path) -> dict[str, Weight]:
    """Return the weights of a model folder by name, in the order of their shards and of their place in them.

    Raises:
        BadInput: no safetensors, an index that names other files or tensors than there are, or a type that is quantised.
    """
    listed = _read_index(folder) if (folder / INDEX).is_file() else None
    found: dict[str, Weight] = {}
    for shard in sorted(set(listed.values())) if listed is not None else [_SINGLE]:
        path = folder / shard
        if path.is_symlink() or not path.is_file():
            raise BadInput(f"{folder} holds no {shard}", allowed=f"{_SINGLE}, or shards with {INDEX}")
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.offset_keys():
                    entry = file.get_slice(name)
                    if entry.get_dtype() not in DTYPES:
                        raise BadInput(f"{path}: {name[:200]} is of a type that cannot be merged", value=entry.get_dtype(), allowed=", ".join(DTYPES))
                    if name in found or (listed is not None and listed.get(name) != shard):
                        raise BadInput(f"{path} holds a tensor the index does not place there", value=name[:200], next="do not use these weights")
                    found[name] = Weight(name, shard, entry.get_dtype(), tuple(entry.get_shape()))
        except (SafetensorError, OSError) as error:
            raise BadInput(f"{path} is no safetensors file: {error}") from error
    if listed is not None and set(listed) != set(found):
        raise BadInput(f"{folder / INDEX} names tensors that are not there", value=sorted(set(listed) - set(found))[:3])
    return found


def blocks(weight: Weight, chunk: int = CHUNK) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) rows of a weight, about `chunk` elements at a time; a vector is one row an element."""
    rows = weight.shape[0] if weight.shape else 1
    step = max(1, chunk // max(1, weight.width))
    for first in range(0, rows, step):
        yield first, min(rows, first + step)


class ShardWriter:
    """Writes one safetensors file, header first, tensors in the order given; blocks of rows may come in any order and from any thread.

    Format: 8 bytes little-endian length of the header, JSON header padded with blanks to a multiple of 8, data without gaps
    (https://huggingface.co/docs/safetensors).
    """

    def __init__(self, path: Path, weights: list[Weight]) -> None:
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        self._weights = {weight.name: weight for weight in weights}
        self._starts: dict[str, int] = {}
        end = 0
        for weight in weights:
            self._starts[weight.name] = end
            header[weight.name] = {"dtype": weight.dtype, "shape": list(weight.shape), "data_offsets": [end, end + weight.size]}
            end += weight.size
        raw = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        raw += b" " * (-len(raw) % 8)
        self._data = 8 + len(raw)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._put(len(raw).to_bytes(8, "little") + raw, 0)
        os.ftruncate(self._fd, self._data + end)

    def _put(self, data: bytes | memoryview, at: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, at)
            view, at = view[written:], at + written

    def write(self, name: str, first: int, rows: Tensor) -> None:
        """Write rows from number `first` on; they have the weight's own type."""
        weight = self._weights[name]
        data = rows.contiguous().view(torch.uint8 if rows.dim() else rows.dtype).numpy()
        self._put(data.tobytes(), self._data + self._starts[name] + first * weight.width * DTYPES[weight.dtype].itemsize)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._fd)

"""Holds a GGUF file against the model folder it was made from, tensor by tensor and byte by byte: memory is that of a few blocks of rows.

What the bytes must be is worked out another way than they were written (rows gathered by number instead of axes swapped, torch instead of gguf's
NumPy, halves rounded in float64), so that a mistake in one of them shows. Every byte counts: F32 holds the number, F16 the nearest one, Q8_0 a scale
and 32 whole numbers as ggml-org/ggml, src/ggml-quants.c, quantize_row_q8_0_ref, finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
import torch
from gguf.quants import dequantize
from safetensors import safe_open
from torch import Tensor

from governance_hooks.errors import CoopError
from train.export.gguf_model import BLOCK, Type, type_of
from train.export.shards import Weight, blocks

__all__ = ["Stored", "compare_gguf", "read_stored", "stored_tensors"]

Progress = Callable[[str, int, int], None]
_ELEMENTS: Final = 2**20
"""Elements compared at a time."""
_NOTHING: Final = "nothing was written"


@dataclass(frozen=True, slots=True)
class Stored:
    """Where one tensor lies in a GGUF file, and how."""

    name: str
    type: gguf.GGMLQuantizationType
    shape: tuple[int, ...]
    """As torch counts: the longest stride first."""
    offset: int
    """From the start of the file, bytes."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row; of one number, if it is a vector."""
        block, size = (int(value) for value in gguf.GGML_QUANT_SIZES[self.type])
        return size if len(self.shape) == 1 else prod(self.shape[1:]) // block * size


def stored_tensors(reader: gguf.GGUFReader) -> dict[str, Stored]:
    """Return the tensors of a file by name; nothing of them is read."""
    return {
        tensor.name: Stored(tensor.name, tensor.tensor_type, tuple(int(side) for side in reversed(tensor.shape)), int(tensor.data_offset))
        for tensor in reader.tensors
    }


def _bytes(path: Path, stored: Stored, first: int, stop: int) -> np.ndarray[Any, Any]:
    """Return the bytes of some rows, shape [rows, bytes of a row], read and not mapped: mapped pages would stay."""
    size = stored.row_bytes
    found = np.fromfile(path, np.uint8, (stop - first) * size, offset=stored.offset + first * size)
    if found.size != (stop - first) * size:
        raise CoopError(f"{stored.name} of the GGUF file, read back, ends before its shape does", next=_NOTHING)
    return found.reshape(stop - first, size)


def rotary_rows(rows: int, heads: int) -> Tensor:
    """Return for each row of a rotary projection in GGUF which row of the safetensors it is: there the two halves of a head follow each other, here
    they alternate (llama.cpp, convert_hf_to_gguf.py, `permute`)."""
    row = torch.arange(rows)
    head, within = row // (rows // heads), row % (rows // heads)
    return head * (rows // heads) + within % 2 * (rows // heads // 2) + within // 2


def read_stored(path: Path, stored: Stored, heads: int | None = None) -> Tensor:
    """Return one tensor in float32, its rows as the safetensors have them.

    Args:
        path: the GGUF file.
        stored: the tensor.
        heads: of a rotary projection whose rows the file has in another order.
    """
    data = _bytes(path, stored, 0, stored.shape[0])
    if stored.type != gguf.GGMLQuantizationType.Q8_0:
        data = data.view(np.float32 if stored.type == gguf.GGMLQuantizationType.F32 else np.float16)
    rows = torch.from_numpy(np.ascontiguousarray(dequantize(data, stored.type), np.float32)).reshape(stored.shape)
    if heads is None:
        return rows
    ordered = torch.empty_like(rows)
    ordered[rotary_rows(len(rows), heads)] = rows
    return ordered


def _wanted(rows: Tensor, kind: gguf.GGMLQuantizationType) -> Tensor:
    """Return the bytes that rows of float32 must have."""
    if kind == gguf.GGMLQuantizationType.F32:
        return rows.contiguous().view(torch.uint8).reshape(len(rows), -1)
    if kind == gguf.GGMLQuantizationType.F16:
        return rows.to(torch.float16).contiguous().view(torch.uint8).reshape(len(rows), -1)
    blocks_NB = rows.reshape(-1, BLOCK)
    scale_N1 = blocks_NB.abs().amax(dim=1, keepdim=True) / 127
    inverse_N1 = torch.where(scale_N1 == 0, torch.zeros_like(scale_N1), 1 / scale_N1)
    scaled_NB = (blocks_NB * inverse_N1).double()
    whole_NB = torch.sign(scaled_NB) * torch.floor(scaled_NB.abs() + 0.5)  # halves go away from nought
    parts = [scale_N1.to(torch.float16).view(torch.uint8), whole_NB.to(torch.int8).view(torch.uint8)]
    return torch.cat(parts, dim=1).reshape(len(rows), -1)


def _compare(path: Path, stored: Stored, folder: Path, weight: Weight, order: Tensor | None) -> None:
    with safe_open(folder / weight.shard, framework="pt") as file:
        source = file.get_tensor(weight.name)
        for first, stop in blocks(weight, _ELEMENTS):
            rows = source[first:stop] if order is None else source[order[first:stop]]
            found = torch.from_numpy(_bytes(path, stored, first, stop))
            wanted = _wanted(rows.to(torch.float32), stored.type)
            if not torch.equal(found, wanted):
                row, byte = (int(value) for value in (found != wanted).nonzero()[0])
                raise CoopError(
                    f"{stored.name} of the GGUF file, read back, is not {weight.name} of the model in {stored.type.name}",
                    value=f"byte {int(found[row, byte])} at {stored.offset + (first + row) * stored.row_bytes + byte}, row {first + row}",
                    allowed=f"byte {int(wanted[row, byte])}",
                    next=_NOTHING,
                )


def compare_gguf(
    path: Path,
    found: Mapping[str, Stored],
    folder: Path,
    weights: Mapping[str, Weight],
    names: Mapping[str, str],
    *,
    kind: Type,
    heads: Mapping[str, int],
    progress: Progress | None = None,
) -> dict[str, int]:
    """Return how many tensors, and how many bytes of them, are what the model folder says.

    Args:
        path: the GGUF file.
        found: its tensors.
        folder: the model folder.
        weights: its weights by name.
        names: name of a weight -> its name in the file, for all that the file must hold.
        kind: f16 or q8_0.
        heads: name of a weight -> number of heads, for those whose rows the file has in another order.
        progress: called with label, done, total.

    Raises:
        CoopError: a tensor is missing, one too many, of another type or shape, or one of its bytes is another.
    """
    missing, odd = sorted(set(names.values()) - set(found)), sorted(set(found) - set(names.values()))
    if missing or odd:
        what = "lacks tensors of the model" if missing else "holds tensors that the model has not"
        raise CoopError(f"the GGUF file, read back, {what}", value=(missing or odd)[:3], next=_NOTHING)
    total, done = sum(weights[name].size for name in names), 0
    for name, renamed in names.items():
        weight, stored = weights[name], found[renamed]
        for what, is_, wanted in (("type", stored.type.name, type_of(weight, kind).name), ("shape", list(stored.shape), list(weight.shape))):
            if is_ != wanted:
                raise CoopError(f"{renamed} of the GGUF file, read back, has another {what}", value=is_, allowed=str(wanted), next=_NOTHING)
        _compare(path, stored, folder, weight, rotary_rows(weight.shape[0], heads[name]) if name in heads else None)
        done += weight.size
        if progress is not None:
            progress(f"comparing GGUF {kind}, bytes of the model", done, total)
    return {"compared": len(names), "bytes": sum(stored.row_bytes * stored.shape[0] for stored in found.values())}

"""The weights file, read as far as its header: safetensors and nothing hidden in it."""

from __future__ import annotations

import json
import math
import re
import struct
from pathlib import Path
from typing import Any

from governance_hooks.errors import BadInput

__all__ = ["check_safetensors"]

_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}
_LONGEST_HEADER = 100_000_000
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,512}")


def _refuse(path: Path, why: str, value: object = None) -> BadInput:
    return BadInput(f"{path.name} is not a plain safetensors file: {why}", value=value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice: a reader would show one value and load the other."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def check_safetensors(path: Path) -> tuple[int, int]:
    """Return the number of tensors and of parameters; refuse a file whose header does not account for every byte (BadInput).

    Format: 8 bytes little-endian header length, JSON header, tensor data without gaps
    (https://huggingface.co/docs/safetensors). The only metadata allowed is `format`, so no text rides along.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else size
        if length > min(size - 8, _LONGEST_HEADER):
            raise _refuse(path, "the header is longer than the file", length)
        raw = file.read(length)
    try:
        header = json.loads(raw, object_pairs_hook=_once)
        if not isinstance(header, dict) or header.pop("__metadata__", {"format": "pt"}) != {"format": "pt"}:
            raise _refuse(path, "the header holds other metadata than its format")
        spans, parameters = [], 0
        for name, tensor in header.items():
            start, stop = tensor["data_offsets"]
            count = math.prod(tensor["shape"])
            if not _NAME.fullmatch(name) or set(tensor) != {"dtype", "shape", "data_offsets"} or stop - start != count * _BYTES[tensor["dtype"]]:
                raise _refuse(path, "a tensor does not fit its shape", name[:80])
            spans.append((start, stop))
            parameters += count
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _refuse(path, f"the header is malformed ({error})") from error
    spans.sort()
    edges = [0, *(edge for span in spans for edge in span), size - 8 - length]
    if not spans or any(edges[i] != edges[i + 1] for i in range(0, len(edges), 2)):
        raise _refuse(path, "the tensors leave gaps, overlap or end before the file does")
    return len(spans), parameters

"""A GGUF file, read as far as its header: what it says of itself, and that its tensors account for every byte.

Format: ggml-org/ggml, docs/gguf.md, version 3, little-endian. Values are skipped, never built, but for the few that are compared.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path

from governance_hooks.errors import BadInput
from model_card.hashing import opened

__all__ = ["GgufHeader", "read_gguf_header"]

_FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Type of a value -> its bytes."""
_STRING, _ARRAY = 8, 9
_TENSORS = {0: (1, 4), 1: (1, 2), 8: (32, 34)}
"""Type of a tensor -> (numbers of a block, bytes of a block): F32, F16, Q8_0. No other is in a release."""
_ALIGNMENT = 32
_MOST_TENSORS, _MOST_KEYS, _MOST_ITEMS = 100_000, 200, 4_000_000
_LONGEST_HEADER, _LONGEST_TEXT = 1 << 28, 1 << 20
_KEYS = ("general.", "tokenizer.", "llama.", "qwen2.", "coop.")
_TEXTS = {
    "coop.source", "general.architecture", "general.base_model.0.name", "general.license", "general.name", "general.type", "tokenizer.chat_template",
    "tokenizer.ggml.model", "tokenizer.ggml.pre",
}  # fmt: skip
"""Keys whose value may be a text: no other text rides along."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Texts by key, and what the tensors are."""

    texts: dict[str, str] = field(default_factory=dict)
    """Values of type string, but for the chat template."""
    tensors: int = 0
    parameters: int = 0
    types: frozenset[int] = frozenset()
    """Types of the tensors of more than one dimension: 1 is F16, 8 is Q8_0."""


def _refuse(path: Path, why: str, value: object = None) -> BadInput:
    return BadInput(f"{path.name} is not a plain GGUF file: {why}", value=value, next="do not load it")


class _Cursor:
    """Reads values one after the other, and never beyond the header."""

    def __init__(self, path: Path, data: mmap.mmap | bytes, size: int) -> None:
        self.path, self.data, self.at, self.end = path, data, 0, min(size, _LONGEST_HEADER)

    def skip(self, count: int) -> int:
        start = self.at
        if count < 0 or start + count > self.end:
            raise _refuse(self.path, "the header is longer than the file, or than a header is")
        self.at = start + count
        return start

    def number(self, form: str) -> int:
        found: int = struct.unpack_from(form, self.data, self.skip(struct.calcsize(form)))[0]
        return found

    def text(self, most: int = _LONGEST_TEXT) -> str:
        length = self.number("<Q")
        if length > most:
            raise _refuse(self.path, "a text is longer than any in a header", length)
        start = self.skip(length)
        try:
            return bytes(self.data[start : start + length]).decode()
        except UnicodeDecodeError as error:
            raise _refuse(self.path, "a text is not UTF-8") from error

    def skip_texts(self, count: int) -> None:
        """Skip strings: the two lists of a vocabulary are hundreds of thousands of them."""
        unpack, data, at, end = struct.Struct("<Q").unpack_from, self.data, self.at, self.end
        for _ in range(count):
            if at + 8 > end:
                break
            at += 8 + unpack(data, at)[0]
        self.at = at
        if at > end:
            raise _refuse(self.path, "the header is longer than the file, or than a header is")

    def value(self, key: str) -> str | None:
        """Skip one value; return it if it is a text worth comparing."""
        kind = self.number("<I")
        if kind == _STRING:
            if key not in _TEXTS:
                raise _refuse(self.path, "the header holds a text that no model needs", key)
            text = self.text()
            return text if key != "tokenizer.chat_template" else None
        if kind == _ARRAY:
            items, count = self.number("<I"), self.number("<Q")
            if count > _MOST_ITEMS or (items != _STRING and items not in _FIXED):
                raise _refuse(self.path, f"{key[:80]} is a list of another kind than a vocabulary has", count)
            if items == _STRING:
                self.skip_texts(count)
            else:
                self.skip(count * _FIXED[items])
            return None
        if kind not in _FIXED:
            raise _refuse(self.path, f"{key[:80]} is of an unknown type", kind)
        self.skip(_FIXED[kind])
        return None


def _texts(cursor: _Cursor, keys: int) -> dict[str, str]:
    seen: set[str] = set()
    texts: dict[str, str] = {}
    for _ in range(keys):
        key = cursor.text(200)
        if key in seen:
            raise _refuse(cursor.path, "a key stands twice", key)
        if not key.startswith(_KEYS) or key == "general.alignment":
            raise _refuse(cursor.path, "the header holds a key that no model needs", key)
        seen.add(key)
        found = cursor.value(key)
        if found is not None:
            texts[key] = found
    return texts


def _spans(cursor: _Cursor, count: int) -> tuple[list[tuple[int, int]], int, set[int]]:
    """Return (start, length) of each tensor's data, the number of parameters, and the types of the matrices."""
    names: set[str] = set()
    spans, parameters, types = [], 0, set()
    for _ in range(count):
        name = cursor.text(200)
        dimensions = cursor.number("<I")
        if name in names or not 1 <= dimensions <= 4:
            raise _refuse(cursor.path, "a tensor stands twice, or has no shape", name)
        names.add(name)
        shape = [cursor.number("<Q") for _ in range(dimensions)]
        kind, start = cursor.number("<I"), cursor.number("<Q")
        size = 1
        for side in shape:
            size *= side
        block, length = _TENSORS.get(kind, (0, 0))
        if not block or not 0 < size < 1 << 48 or shape[0] % block:
            raise _refuse(cursor.path, "a tensor is of another type or shape than F32, F16 and Q8_0 have", name)
        spans.append((start, size // block * length))
        parameters += size
        if dimensions > 1:
            types.add(kind)
    return spans, parameters, types


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def read_gguf_header(path: Path) -> GgufHeader:
    """Return what the header says; raise BadInput for a file of another format, or whose tensors do not account for every byte."""
    with opened(path) as (fd, size):
        if size < 24:
            raise _refuse(path, "it is too short", size)
        with mmap.mmap(fd, min(size, _LONGEST_HEADER), prot=mmap.PROT_READ) as data:
            cursor = _Cursor(path, data, size)
            start = cursor.skip(4)
            if bytes(data[start:4]) != b"GGUF" or cursor.number("<I") != 3:
                raise _refuse(path, "it does not begin as one of version 3")
            tensors, keys = cursor.number("<Q"), cursor.number("<Q")
            if not 0 < tensors <= _MOST_TENSORS or not 0 < keys <= _MOST_KEYS:
                raise _refuse(path, "it says it holds more than a model does", [tensors, keys])
            texts = _texts(cursor, keys)
            spans, parameters, types = _spans(cursor, tensors)
            at = 0
            for begin, length in sorted(spans):
                if begin != at:
                    raise _refuse(path, "the tensors leave gaps or overlap", begin)
                at = _padded(begin + length)
            if _padded(cursor.at) + at != _padded(size) or size > _padded(cursor.at) + at:
                raise _refuse(path, "the tensors end before the file does, or after", size)
    return GgufHeader(texts, tensors, parameters, frozenset(types))

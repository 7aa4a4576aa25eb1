"""Character n-grams as 64-bit numbers, and the bare text some of them are taken from: the same on every machine: no seed of the interpreter and no floating point takes part.

A rolling polynomial over code points, vectorised, then the finaliser of SplitMix64 (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195)
so that all bits depend on all characters. Somebody who knows the constants can make two n-grams collide; the stages that drop rows
for likeness to others' rows therefore compare the n-grams themselves.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from data_pipeline.deduplicate import folded

__all__ = ["Hashes", "gram_hashes", "key", "many_gram_hashes", "mixed"]

Hashes = NDArray[np.uint64]

_BASE: Final = np.uint64(0x9E3779B97F4A7C15)


def mixed(values: Hashes) -> Hashes:
    """Return SplitMix64's finaliser of each value; a bijection on 64 bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def gram_hashes(text: str, size: int) -> Hashes:
    """Return one number for each run of `size` characters, in order; for a shorter text that is not empty, one for the whole of it."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    size = min(size, len(points))
    if size == 0:
        return np.empty(0, dtype=np.uint64)
    count = len(points) - size + 1
    hashes = np.full(count, size, dtype=np.uint64)
    for offset in range(size):
        hashes = hashes * _BASE + points[offset : offset + count]
    return mixed(hashes)


def many_gram_hashes(texts: Sequence[str], size: int) -> tuple[Hashes, NDArray[np.int64]]:
    """Return `gram_hashes` of every text, one after the other, and where each text's begin; much faster than one by one."""
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    counts = np.where(lengths < size, np.minimum(lengths, 1), lengths - size + 1)
    starts = np.cumsum(counts) - counts
    found = np.empty(int(counts.sum()), dtype=np.uint64)
    short = np.flatnonzero((lengths > 0) & (lengths < size))
    whole = np.ones(len(found), dtype=bool)
    whole[starts[short]] = False
    if len(points) >= size:
        rolled = np.full(len(points) - size + 1, size, dtype=np.uint64)
        for offset in range(size):
            rolled = rolled * _BASE + points[offset : offset + len(rolled)]
        inside = np.ones(len(points), dtype=bool)
        ends = np.cumsum(lengths)
        for tail in range(1, size):  # the last places of each text, whose runs would go on into the next
            inside[(ends - tail)[lengths >= tail]] = False
        found[whole] = mixed(rolled[inside[: len(rolled)]])
    for row in short.tolist():
        found[starts[row]] = gram_hashes(texts[row], size)[0]
    return found, starts


class _Letters(dict[int, int | None]):
    """For `str.translate`: every letter, mark and digit stays, all else goes."""

    def __missing__(self, point: int) -> int | None:
        self[point] = point if unicodedata.category(chr(point))[0] in "LMN" else None
        return self[point]


_LETTERS: Final = _Letters()


def key(text: str) -> str:
    """Return the letters, marks and digits of a text, case and compatibility forms folded."""
    return folded(text).translate(_LETTERS)

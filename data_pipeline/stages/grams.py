"""Character n-grams as 64-bit numbers, and the bare text some of them are taken from: the same on every machine: no seed of the interpreter and no floating point takes part.

A rolling polynomial over code points, vectorised, then the finaliser of SplitMix64 (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195)
so that all bits depend on all characters. Somebody who knows the constants can make two n-grams collide; the stages that drop rows
for likeness to others' rows therefore compare the n-grams themselves.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from data_pipeline.deduplicate import folded

__all__ = ["Hashes", "gram_hashes", "key", "mixed"]

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


@lru_cache(maxsize=1 << 16)
def _counts(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


def key(text: str) -> str:
    """Return the letters, marks and digits of a text, case and compatibility forms folded."""
    return "".join(filter(_counts, folded(text)))

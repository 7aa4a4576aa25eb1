"""How alike two texts are: the Jaccard likeness of their character n-grams, exactly, and a bound of it for many texts at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Final, cast

import numpy as np

__all__ = ["SIZE", "Sketches", "likeness"]

SIZE: Final = 5
"""Characters of an n-gram. n-grams of words would leave rows of fewer words than n, many in a corpus of short rows, never compared."""

_WORDS: Final = 8
"""Words of 64 bits in a sketch: enough that the hundred n-grams of a short text seldom meet."""
_FEW: Final = 6
"""So many texts are compared sooner than bounded."""


def likeness(one: str, other: str) -> Fraction:
    """Return the Jaccard likeness of the n-gram sets of two texts, exactly; a text shorter than an n-gram is one n-gram."""
    left, right = _grams(one), _grams(other)
    both = len(left & right)
    return Fraction(both, len(left) + len(right) - both)


class Sketches:
    """A bit for each n-gram of a row's texts, by which many likenesses are bounded at once.

    An n-gram of two texts leaves its bit in both sketches, or fell on the bit of another one: so many the texts can share, and no more.
    """

    def __init__(self, rows: int, texts: Callable[[int], Sequence[str]]) -> None:
        """Make room for `rows` rows, each of at most two texts, which are sketched when they are first asked for."""
        self._texts = texts
        self._bits = np.zeros((rows, 2, _WORDS), dtype=np.uint64)
        self._sizes = np.zeros((rows, 2), dtype=np.int64)
        self._spare = np.zeros((rows, 2), dtype=np.int64)  # n-grams that fell on the bit of another one

    def plausible(self, mine: int, others: list[int], least: int) -> list[int]:
        """Return the others without those some text of which is less than `least` thousandths alike for certain."""
        if len(others) < _FEW or not self._texts(mine):
            return others
        rows = np.array([mine, *others])
        for row in rows[self._sizes[rows, 0] == 0].tolist():
            self._sketch(row)
        rows = rows[1:]
        both = np.bitwise_count(self._bits[rows] & self._bits[mine]).sum(axis=2, dtype=np.int64) + np.minimum(self._spare[rows], self._spare[mine])
        can = (both * 1000 >= least * (self._sizes[rows] + self._sizes[mine] - both)).all(axis=1)
        return cast(list[int], rows[can].tolist())

    def _sketch(self, row: int) -> None:
        for side, text in enumerate(self._texts(row)):
            grams, bits = _grams(text), 0
            for gram in grams:
                bits |= 1 << hash(gram) % (64 * _WORDS)  # the interpreter's seed says which: it moves the bound, and no likeness
            self._bits[row, side] = np.frombuffer(bits.to_bytes(8 * _WORDS, "little"), dtype="<u8")
            self._sizes[row, side], self._spare[row, side] = len(grams), len(grams) - bits.bit_count()


@lru_cache(maxsize=512)
def _grams(text: str) -> frozenset[str]:
    return frozenset(text[start : start + SIZE] for start in range(max(len(text) - SIZE + 1, 1)))

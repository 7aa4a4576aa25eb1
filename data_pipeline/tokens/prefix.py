"""The token ids with which samples begin alike, before anything in them is learned: what a forward pass can compute once for all of them.

Every chat template puts the same words before each prompt, a default system message often, and two answers to one prompt share all of it.
A causal model computes the same for equal beginnings, so computing them once changes nothing but rounding (Wang & Hegde 2024,
arXiv 2410.20305, for pairs; Liu et al. 2025, arXiv 2506.05433, for groups of answers).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from data_pipeline.tokens.sample import Ids, Sample

__all__ = ["SHORTEST", "CommonPrefix", "shared_prefix"]

SHORTEST: Final = 8
"""Fewer tokens than these are not worth sharing."""


def _alike(one: Ids, other: Ids, most: int) -> int:
    different = np.flatnonzero(one[:most] != other[:most])
    return int(different[0]) if len(different) else most


def shared_prefix(one: Sample, other: Sample) -> int:
    """Return with how many equal tokens two samples begin, 0 if with fewer than SHORTEST.

    The token that predicts the first learned one is never among them: what it has to predict differs.
    """
    found = _alike(one.ids, other.ids, min(one.start, other.start) - 1)
    return found if found >= SHORTEST else 0


class CommonPrefix:
    """With how many equal tokens all of many samples begin; like `shared_prefix`, told one sample at a time."""

    def __init__(self) -> None:
        self._ids: Ids | None = None

    def add(self, sample: Sample) -> None:
        """Look at one more sample."""
        most = sample.start - 1
        before = sample.ids[:most] if self._ids is None else self._ids
        self._ids = before[: _alike(before, sample.ids, min(len(before), most))]

    @property
    def tokens(self) -> int:
        """Their number, 0 if fewer than SHORTEST, or if no sample was seen."""
        return 0 if self._ids is None or len(self._ids) < SHORTEST else len(self._ids)

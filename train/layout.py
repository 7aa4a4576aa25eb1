"""How the samples of a forward pass lie in its rows: ids, positions and targets, without padding between and without what need not be computed.

    ids        P P P a a a | b b | c c c c        P: a prefix of all three, which stands in the row once (with `prefix_sharing`)
    positions  0 1 2 3 4 5 | 3 4 | 3 4 5 6        where a sample begins, and with what it begins (`train.row_paths`)
    targets    . . . . a a | b b | . c c c        the token that the position has to predict; the last one of a sample stands nowhere else

No mask exists: from the positions each attention backend learns what belongs to a sample (`train.isolation` proves it on the model at hand).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from data_pipeline.tokens.prefix import shared_prefix
from data_pipeline.tokens.sample import Pair, Sample

__all__ = ["IGNORE", "Forwarded", "PairsIn", "Unit", "batch_rows", "batch_units", "computed_tokens", "samples_in", "side_by_side"]

IGNORE = -100
"""Target of a position that is not trained on (torch's `ignore_index`)."""

Unit: TypeAlias = tuple[int, Sample | Pair]
"""A sample, or with objective dpo a pair, with its number among all of its side."""


@dataclass(frozen=True, slots=True)
class PairsIn:
    """The pairs of one forward pass, in the order they lie in it."""

    numbers: list[int]
    """Of each pair, its number among all pairs of its side."""
    supervised: list[int]
    """Supervised tokens of each answer: two a pair, the preferred one first; together all of the pass, in its order."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The tensors of one forward pass, each [sequences, tokens], int64; a padded tail is a sample of its own without targets.

    A target is the token that the position has to predict, so the last token of a sample stands nowhere else.
    """

    ids_BT: Tensor
    positions_BT: Tensor
    targets_BT: Tensor
    pairs: PairsIn | None = None
    """With objective dpo."""
    learned: tuple[tuple[str, int], ...] = ()
    """Language and supervised tokens of each sample, in the order of the targets."""

    def to(self, device: torch.device) -> Forwarded:
        """Return the same tensors on `device`."""
        return replace(self, ids_BT=self.ids_BT.to(device), positions_BT=self.positions_BT.to(device), targets_BT=self.targets_BT.to(device))


def samples_in(sequence: Sequence[Unit]) -> list[Sample]:
    """Return the samples of some units, both of a pair."""
    return [sample for _, unit in sequence for sample in unit.samples]


def side_by_side(sequence: Sequence[Unit]) -> list[Unit]:
    """Return units ordered by their ids, so that those that begin alike are neighbours."""
    return sorted(sequence, key=lambda unit: unit[1].samples[0].ids.tolist())


def _shared(sequence: Sequence[Sample], *, prefix_sharing: bool) -> list[int]:
    """Return of each sample of a sequence how many of its first tokens stand in the row already, as the one before begins with them too."""
    if not prefix_sharing:
        return [0] * len(sequence)
    return [0, *(shared_prefix(before, sample) for before, sample in pairwise(sequence))][: len(sequence)]


def computed_tokens(sequence: Sequence[Sample], *, prefix_sharing: bool) -> int:
    """Return how many tokens of a sequence go through the model."""
    return sum(sample.inputs for sample in sequence) - sum(_shared(sequence, prefix_sharing=prefix_sharing))


def batch_rows(sequences: Sequence[Sequence[Sample]], pad: int, *, prefix_sharing: bool = False) -> Forwarded:
    """Lay sequences of samples side by side, padded to the longest, and to two tokens; targets stand only where the next token is supervised."""
    width = max(2, *(computed_tokens(sequence, prefix_sharing=prefix_sharing) for sequence in sequences))
    shape = (len(sequences), width)
    ids, targets = np.full(shape, pad, np.int64), np.full(shape, IGNORE, np.int64)
    positions = np.empty(shape, np.int64)
    for row, sequence in enumerate(sequences):
        end = 0
        for sample, left in zip(sequence, _shared(sequence, prefix_sharing=prefix_sharing), strict=True):
            begin, end = end, end + sample.inputs - left
            ids[row, begin:end] = sample.ids[left : sample.inputs]
            positions[row, begin:end] = np.arange(left, sample.inputs)
            targets[row, end - sample.supervised : end] = sample.ids[sample.start : sample.stop]
        # Restarting positions make the tail one more sample, so no real token can see it.
        positions[row, end:] = np.arange(width - end)
    learned = tuple((sample.language, sample.supervised) for sequence in sequences for sample in sequence)
    return Forwarded(torch.from_numpy(ids), torch.from_numpy(positions), torch.from_numpy(targets), learned=learned)


def batch_units(sequences: Sequence[Sequence[Unit]], pad: int, *, prefix_sharing: bool = False) -> Forwarded:
    """Lay sequences of numbered samples, or pairs, side by side; both answers of a pair stand one after the other in the same sequence."""
    laid = batch_rows([samples_in(sequence) for sequence in sequences], pad, prefix_sharing=prefix_sharing)
    pairs = [(number, unit) for sequence in sequences for number, unit in sequence if isinstance(unit, Pair)]
    if not pairs:
        return laid
    return replace(laid, pairs=PairsIn([number for number, _ in pairs], [sample.supervised for _, pair in pairs for sample in pair.samples]))

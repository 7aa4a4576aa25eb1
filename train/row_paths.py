"""Which tokens of a packed row make up each sample, read from the positions alone: a row is a forest, a sample a path from a root.

    position   0 1 2 3 4 5 6   4 5 6   4 5   0 1 2   0 1
    sample     A A A A A A A   B B B   C C   D D D   padding       B: the first four tokens of A, and its own three

A sample begins wherever a position does not follow the one before it. At 0 it stands alone; at k > 0 its first k tokens are those of the
sample before it (`data_pipeline.tokens.prefix`), which lie in the row once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["RowPaths", "SamplePath", "last_readers", "row_paths", "visible"]


@dataclass(frozen=True, slots=True)
class SamplePath:
    """One sample of a row."""

    own: int
    """Tokens that lie in the row for this sample, one after the other, after those of the sample before."""
    pieces: tuple[int, ...]
    """Numbers of the pieces of the row that the whole sample is made of, its own ones last."""


@dataclass(frozen=True, slots=True)
class RowPaths:
    """The samples of one row, and how the row is cut so that each of them is made of whole pieces."""

    pieces: list[int]
    """Tokens of each piece."""
    samples: list[SamplePath]


def row_paths(positions: list[int]) -> RowPaths:
    """Return the samples of a row of positions; raise ValueError if one begins behind the end of the sample before it."""
    begins = [place for place, position in enumerate(positions) if place == 0 or position != positions[place - 1] + 1]
    found: list[tuple[int, list[int]]] = []
    cuts = set(begins)
    places: list[int] = []
    for begin, end in zip(begins, [*begins[1:], len(positions)], strict=True):
        depth = positions[begin]
        if depth > len(places):
            raise ValueError(f"a sample begins at position {depth}, and the one before it has {len(places)} tokens")
        if depth:
            cuts.add(places[depth - 1] + 1)
        places = places[:depth] + list(range(begin, end))
        found.append((end - begin, places))
    starts = sorted(cuts - {len(positions)})
    number = {start: piece for piece, start in enumerate(starts)}
    sizes = [end - start for start, end in zip(starts, [*starts[1:], len(positions)], strict=True)]
    return RowPaths(sizes, [SamplePath(own, tuple(number[place] for place in places if place in number)) for own, places in found])


def last_readers(positions_BT: Tensor) -> Tensor:
    """Return [B, T], int64: behind which place of its row no token may see a token any more; between it and itself all may.

    A row lists its forest depth first, so those who descend from a token stand right behind it, up to the first at its position or a lower one.
    """
    ends = []
    for positions in positions_BT.tolist():
        end: list[int] = [len(positions)] * len(positions)
        path: list[int] = []
        for place, position in enumerate(positions):
            while path and positions[path[-1]] >= position:
                end[path.pop()] = place
            path.append(place)
        ends.append(end)
    return torch.tensor(ends, device=positions_BT.device)


def visible(positions_BT: Tensor) -> Tensor:
    """Return [B, 1, T, T], bool: whether a token of a row (third dimension) may see another (fourth): itself, and what stands before it in its sample."""
    place_T = torch.arange(positions_BT.shape[1], device=positions_BT.device)
    return ((place_T[:, None] >= place_T) & (place_T[:, None] < last_readers(positions_BT)[:, None, :]))[:, None]

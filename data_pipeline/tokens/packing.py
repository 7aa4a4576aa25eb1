"""Packs samples into sequences of fixed length, so that no compute goes into padding; samples are whole, and end where another begins."""

from __future__ import annotations

import random
from collections.abc import Sequence

__all__ = ["pack", "steps"]


def pack(lengths: Sequence[int], capacity: int, order: Sequence[int]) -> list[list[int]]:
    """Group sample indices into sequences of at most `capacity` tokens by best-fit-decreasing, ties taken in `order`.

    Never more than 11/9 of the optimal number of sequences, plus one (Johnson 1974); O(n log n), as the open sequences are found in
    one integer's bits. The number of sequences does not depend on `order`. Raises ValueError if a sample is longer than `capacity`.
    """
    sequences: list[list[int]] = []
    by_room: dict[int, list[int]] = {}
    rooms = 0  # bit r is set while some open sequence has exactly r tokens of room
    for index in sorted(order, key=lambda i: -lengths[i]):
        length = lengths[index]
        if not 0 < length <= capacity:
            raise ValueError(f"a sample of {length} tokens does not fit into {capacity}")
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            target = by_room[room].pop()
            if not by_room[room]:
                rooms &= ~(1 << room)
            sequences[target].append(index)
        else:
            room, target = capacity, len(sequences)
            sequences.append([index])
        left = room - length
        if left:
            by_room.setdefault(left, []).append(target)
            rooms |= 1 << left
    return sequences


def steps(lengths: Sequence[int], *, sequence_tokens: int, sequences_per_step: int, seed: int, epoch: int) -> list[list[list[int]]]:
    """Return one epoch as optimizer steps, each a list of sequences of sample indices; fixed by lengths, seed and epoch.

    The last step of an epoch may hold fewer sequences; nothing is left out or repeated.
    """
    # A string seed is hashed with SHA-512 by random.Random: stable over versions and platforms, unlike hash().
    shuffle = random.Random(f"coop.packing/v1:{seed}:{epoch}")  # noqa: S311 - an order of rows, not a secret
    order = list(range(len(lengths)))
    shuffle.shuffle(order)
    sequences = pack(lengths, sequence_tokens, order)
    shuffle.shuffle(sequences)
    return [sequences[start : start + sequences_per_step] for start in range(0, len(sequences), sequences_per_step)]

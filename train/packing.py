"""Packs rendered samples into sequences of fixed length, so that no compute goes into padding.

    samples ──► best-fit-decreasing ──► sequences ──► steps (record ids, rows of ids, positions, labels)

Positions restart at every sample and no attention mask exists: from those positions transformers builds the mask that keeps
samples apart (`train.isolation` proves it on the model at hand). The label of each sample's first token is masked, or the shift
by one would make the last token of one sample predict the first of the next.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from governance_hooks.errors import BadInput

__all__ = ["IGNORE", "PackedRow", "Sample", "check_dropped", "check_supervised", "pack", "packed_row", "steps"]

IGNORE = -100
"""Label of a position that is not trained on (torch's `ignore_index`)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One rendered record: token ids, and for each whether the model learns to produce it."""

    record: str
    language: str
    ids: tuple[int, ...]
    supervised: tuple[bool, ...]

    @property
    def supervised_tokens(self) -> int:
        """Tokens that enter the loss; the first token has no context, so it never does."""
        return sum(self.supervised[1:])


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Samples laid end to end: three lists of equal length, positions restarting at each sample."""

    ids: list[int]
    positions: list[int]
    labels: list[int]


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


def steps(samples: Sequence[Sample], *, sequence_tokens: int, sequences_per_step: int, seed: int, epoch: int) -> list[list[list[int]]]:
    """Return one epoch as optimizer steps, each a list of sequences of sample indices; fixed by samples, seed and epoch.

    The last step of an epoch may hold fewer sequences; nothing is left out or repeated.
    """
    # A string seed is hashed with SHA-512 by random.Random: stable over versions and platforms, unlike hash().
    shuffle = random.Random(f"coop.packing/v1:{seed}:{epoch}")  # noqa: S311 - an order of rows, not a secret
    order = list(range(len(samples)))
    shuffle.shuffle(order)
    sequences = pack([len(sample.ids) for sample in samples], sequence_tokens, order)
    shuffle.shuffle(sequences)
    return [sequences[start : start + sequences_per_step] for start in range(0, len(sequences), sequences_per_step)]


def packed_row(samples: Iterable[Sample]) -> PackedRow:
    """Lay samples end to end, with positions from 0 for each and labels only where supervised."""
    row = PackedRow([], [], [])
    for sample in samples:
        row.ids.extend(sample.ids)
        row.positions.extend(range(len(sample.ids)))
        row.labels.append(IGNORE)
        row.labels.extend(token if learn else IGNORE for token, learn in zip(sample.ids[1:], sample.supervised[1:], strict=True))
    return row


def check_dropped(kept: Counter[str], dropped: Counter[str], limit: float, sequence_tokens: int) -> None:
    """Refuse if more than `limit` of a language's rows do not fit into a sequence."""
    for language, count in sorted(dropped.items()):
        share = count / (count + kept[language])
        if share > limit:
            raise BadInput(
                f"{count} of {count + kept[language]} training rows in {language!r} are longer than training.sequence_tokens",
                value=sequence_tokens,
                allowed=f"at most {limit:.0%} dropped per language (training.max_dropped_fraction)",
                next="raise training.sequence_tokens in the config and plan again",
            )


def check_supervised(samples: Sequence[Sample]) -> None:
    """Refuse samples without a supervised token, and a set in which every token is supervised: the loss mask is broken then."""
    for sample in samples:
        if sample.supervised_tokens == 0:
            raise BadInput("a training row has no token to learn", value=sample.record, allowed="rows whose answer is not empty")
    if not samples:
        raise BadInput("no training row is left to learn from", next="raise training.sequence_tokens, or build with more records")
    if all(all(sample.supervised) for sample in samples):
        raise BadInput("every token of every row is supervised, prompts included", allowed="a chat template whose prompt is masked")

"""One row of a build as token ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from data_pipeline.split import Split
from governance_hooks.errors import CoopError
from governance_hooks.merkle import leaf_hash

__all__ = ["Ids", "Pair", "Sample"]

Ids: TypeAlias = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A rendered row: token ids, of which [start, stop) are learned."""

    record: str
    language: str
    """ISO 639-3."""
    split: Split
    ids: Ids = field(repr=False)
    start: int
    stop: int

    @property
    def supervised(self) -> int:
        """Tokens that enter the loss."""
        return self.stop - self.start

    @property
    def inputs(self) -> int:
        """Tokens a model has to read: all before the last learned one, which is only predicted, as is nothing behind it."""
        return self.stop - 1

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The sample itself: what is trained on together."""
        return (self,)

    def check(self) -> None:
        """Raise CoopError for a mask that learns nothing, or the first token: nothing stands before it that could predict it."""
        if not 0 < self.start < self.stop <= len(self.ids):
            raise CoopError(
                f"the loss mask of text {self.record} is broken",
                value=(self.start, self.stop, len(self.ids)),
                allowed="0 < start < stop <= tokens",
                next="make the tokens again",
            )

    def leaf(self) -> bytes:
        """Return the RFC 6962 leaf hash of the sample; it depends on no file format."""
        head = f"coop.sample/v1\n{self.split}\n{self.language}\n{self.record}\n{self.start}\n{self.stop}\n"
        return leaf_hash(head.encode() + self.ids.astype("<u4").tobytes())


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two answers to one prompt, of which the first is preferred; they are read in the same forward pass, side by side."""

    chosen: Sample
    rejected: Sample

    @property
    def record(self) -> str:
        """The preferred record, which names the pair."""
        return self.chosen.record

    @property
    def language(self) -> str:
        """ISO 639-3, of both."""
        return self.chosen.language

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Both, the preferred one first."""
        return (self.chosen, self.rejected)

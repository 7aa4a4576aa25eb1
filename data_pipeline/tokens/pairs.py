"""The pairs of an opened artefact: each line of preferences.jsonl that fits into a sequence, as two samples side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from data_pipeline.tokens.description import PREFERENCES, Counts
from data_pipeline.tokens.preferences import Preference
from data_pipeline.tokens.prefix import shared_prefix
from data_pipeline.tokens.sample import Pair
from governance_hooks.canonical import loads
from governance_hooks.errors import CoopError
from governance_hooks.inventory import sha256_file
from governance_hooks.plan import PairCounts, explain_validation

if TYPE_CHECKING:
    from data_pipeline.tokens.tokens import Samples

__all__ = ["Pairs", "check_found", "read_preferences"]

_AGAIN = "make the tokens again"


class Pairs(Sequence[Pair]):
    """Pairs of samples of one side; like `Samples`, only lengths and languages are in memory."""

    def __init__(self, samples: Samples, numbers_P2: npt.NDArray[np.int64]) -> None:
        self._samples, self._numbers_P2 = samples, numbers_P2
        self.lengths: npt.NDArray[np.int32] = samples.lengths[numbers_P2].sum(axis=1, dtype=np.int32)
        """Tokens of each pair, both answers with their prompts."""
        self.supervised: npt.NDArray[np.int32] = samples.supervised[numbers_P2].sum(axis=1, dtype=np.int32)
        """Learned tokens of each pair."""
        self.languages = samples.languages
        """The languages of the samples; not all need to have a pair."""
        self.codes = samples.codes[numbers_P2[:, 0]]
        """Of each pair, the place of its language in `languages`."""
        self.inputs: npt.NDArray[np.int32] = samples.inputs[numbers_P2].sum(axis=1, dtype=np.int32)
        """Of the tokens of each pair those a model has to read."""
        self.prefix = samples.prefix
        """With how many equal tokens all samples begin."""

    @cached_property
    def own_lengths(self) -> npt.NDArray[np.int32]:
        """Inputs that each pair adds to a sequence in which the common prefix stands already: what its answers share, their prompt, counts once."""
        shared = np.fromiter((shared_prefix(pair.chosen, pair.rejected) for pair in self), np.int32, len(self))
        return self.inputs - shared - np.int32(self.prefix)

    def __len__(self) -> int:
        return len(self._numbers_P2)

    @overload
    def __getitem__(self, index: int) -> Pair: ...

    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...

    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        chosen, rejected = self._numbers_P2[index].tolist()
        return Pair(self._samples[chosen], self._samples[rejected])

    def __iter__(self) -> Iterator[Pair]:
        return (self[number] for number in range(len(self)))


def read_preferences(folder: Path, expected: str) -> list[Preference]:
    """Return the lines of preferences.jsonl.

    Raises:
        BadInput: a line is malformed.
        CoopError: not the file of that digest, lines out of order, a record preferred twice or over itself.
    """
    path = folder / PREFERENCES
    if not path.is_file() or sha256_file(path) != expected:
        raise CoopError(f"{path} is not the file the description names", allowed=expected, next=_AGAIN)
    found: list[Preference] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            loads(line[:-1], source=where)
            try:
                one = Preference.model_validate_json(line)
            except ValidationError as error:
                raise explain_validation(error, Preference, where) from error
            if one.chosen == one.rejected or (found and one.place <= found[-1].place):
                raise CoopError(f"{where}: out of order, a text preferred twice, or over itself", value=one.chosen, next=_AGAIN)
            found.append(one)
    return found


def check_found(preferences: Sequence[Preference], found: Mapping[str, PairCounts], rows: Mapping[str, Counts]) -> None:
    """Raise CoopError unless what the description tells of the training rows follows from the pairs; why an edit is in none, only the build tells."""
    reasons = Counter((one.language, one.because) for one in preferences if one.split == "train")
    paired = Counter(language for _, language in {(r, one.language) for one in preferences if one.split == "train" for r in (one.chosen, one.rejected)})
    told = {code: (count.edits, count.ratings, count.unpaired) for code, count in found.items()}
    there = {code: both.train.rows + both.train.too_long for code, both in rows.items()}
    counted = {code: (reasons[code, "edit"], reasons[code, "rating"], count - paired[code]) for code, count in there.items() if count}
    if told != counted:
        raise CoopError("the description counts other pairs", value=told, allowed=str(counted), next=_AGAIN)

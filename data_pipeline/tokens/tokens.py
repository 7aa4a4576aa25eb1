"""An opened artefact: checked from end to end once, then read sample by sample from the mapped file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from data_pipeline.tokens.arrow import ArrowRows
from data_pipeline.tokens.counts import Tally, fitting
from data_pipeline.tokens.description import ARROW, LEFT_OUT, Description, LeftOut, read_tokens_file
from data_pipeline.tokens.pairs import Pairs, check_found, read_preferences
from data_pipeline.tokens.preferences import Preference
from data_pipeline.tokens.prefix import CommonPrefix
from data_pipeline.tokens.sample import Sample
from governance_hooks.canaries import PREFIX
from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.inventory import sha256_file
from governance_hooks.merkle import Frontier
from governance_hooks.plan import CANARY_LANGUAGE, TokenCounts, explain_validation

__all__ = ["Samples", "Tokens", "open_tokens"]

_AGAIN = "make the tokens again"


class Samples(Sequence[Sample]):
    """The samples of one side. Lengths and languages are in memory, ids stay in the file until a sample is asked for.

    Each sample is hashed again when it is read: whoever writes into the mapped file during a run changes nothing that is used.
    """

    def __init__(
        self,
        rows: ArrowRows,
        first: int,
        leaves: bytes,
        lengths: npt.NDArray[np.int32],
        supervised: npt.NDArray[np.int32],
        languages: list[str],
        inputs: npt.NDArray[np.int32],
        prefix: int = 0,
    ) -> None:
        self._rows, self._first, self._leaves = rows, first, leaves
        self.lengths = lengths
        """Tokens of each sample."""
        self.supervised = supervised
        """Learned tokens of each sample."""
        self.languages = sorted(set(languages))
        """The languages there are."""
        numbers = {language: number for number, language in enumerate(self.languages)}
        self.codes = np.array([numbers[language] for language in languages], dtype=np.uint16)
        """Of each sample, the place of its language in `languages`."""
        self.inputs = inputs
        """Of the tokens of each sample those a model has to read (`Sample.inputs`)."""
        self.prefix = prefix
        """With how many equal tokens all samples begin (`data_pipeline.tokens.prefix`)."""

    @property
    def own_lengths(self) -> npt.NDArray[np.int32]:
        """Inputs that each sample adds to a sequence in which the common prefix stands already."""
        return self.inputs - np.int32(self.prefix)

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        sample = self._rows[self._first + index]
        if sample.leaf() != self._leaves[32 * index : 32 * index + 32]:
            raise CoopError(f"{self._rows.path} was changed while it was open", value=sample.record, next=_AGAIN)
        return sample

    def __iter__(self) -> Iterator[Sample]:
        return (self[number] for number in range(len(self)))


@dataclass(frozen=True, slots=True)
class Tokens:
    """A tokenised build whose every sample was compared with its description."""

    folder: Path
    description: Description
    train: Samples
    heldout: Samples
    train_pairs: Pairs | None = None
    """With objective dpo: the pairs of training samples that fit into a sequence."""
    heldout_pairs: Pairs | None = None

    @property
    def units(self) -> Samples | Pairs:
        """What the steps of a run are packed from: the pairs if there are any to train on, else the training samples."""
        return self.train if self.train_pairs is None else self.train_pairs

    @property
    def counted(self) -> Literal["rows", "pairs"]:
        """What `train_counts` counts."""
        return "rows" if self.train_pairs is None else "pairs"

    @property
    def digest(self) -> str:
        """The identity of the artefact."""
        return self.description.digest

    @property
    def train_counts(self) -> dict[str, TokenCounts]:
        """Counts of the training rows (or pairs), of languages that have any; what a plan holds."""
        pairs = self.description.pairs
        sides = {language: counts.train for language, counts in (self.description.languages if pairs is None else pairs.languages).items()}
        return {language: counts for language, counts in sides.items() if counts.rows + counts.too_long}

    def left_out(self) -> Iterator[LeftOut]:
        """Yield the rows that do not fit."""
        return _left_out(self.folder, self.description)


def _left_out(folder: Path, told: Description) -> Iterator[LeftOut]:
    path = folder / LEFT_OUT
    if not path.is_file() or sha256_file(path) != told.left_out:
        raise CoopError(f"{path} is not the file the description names", allowed=told.left_out, next=_AGAIN)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                loads(line[:-1], source=f"{path}, line {number}")
                yield LeftOut.model_validate_json(line)
            except ValidationError as error:
                raise explain_validation(error, LeftOut, f"{path}, line {number}") from error


def open_tokens(folder: Path, *, expected: str | None = None) -> Tokens:
    """Map an artefact into memory and check every sample of it.

    Args:
        folder: holds tokens.json, tokens.arrow and left_out.jsonl.
        expected: the digest a plan names.

    Raises:
        BadInput: tokens.json is missing or malformed, or the artefact is not the one expected.
        CoopError: the samples are not those of the description.
    """
    head = read_tokens_file(folder)
    told = head.description
    if expected is not None and head.digest != expected:
        raise BadInput(f"the tokens in {folder} are not those of the plan", value=head.digest, allowed=expected, next="plan and vote again")
    path = folder / ARROW
    if not path.is_file() or path.is_symlink() or (sha256_file(path), path.stat().st_size) != (head.arrow.sha256, head.arrow.size):
        raise CoopError(f"{path} is not the file tokens.json names", allowed=head.arrow.sha256, next=_AGAIN)
    rows = ArrowRows(path, told.vocabulary)
    preferences = [] if told.pairs is None else read_preferences(folder, told.pairs.preferences)
    places = {record: -1 for one in preferences for record in (one.chosen, one.rejected)}
    leaves, tree = bytearray(), Frontier()
    lengths, supervised, inputs = (np.zeros(len(rows), np.int32) for _ in range(3))
    languages: list[str] = []
    tally, train = Tally(), 0
    prefixes = {"train": CommonPrefix(), "heldout": CommonPrefix()}
    before: tuple[bool, str] | None = None
    for number, sample in enumerate(rows):
        sample.check()
        place = (sample.split == "heldout", sample.record)
        if sample.split not in ("train", "heldout") or (before is not None and place <= before):
            raise CoopError(f"{path}: sample {number + 1} is out of order or stands twice", value=sample.record, next=_AGAIN)
        before = place
        if (sample.language == CANARY_LANGUAGE) != (told.recipe.canaries is not None and sample.record.startswith(PREFIX)):
            raise CoopError(
                f"{path}: sample {number + 1} is half a canary", value=sample.record, allowed=f"both or none of {PREFIX} and {CANARY_LANGUAGE}", next=_AGAIN
            )
        leaf = sample.leaf()
        leaves += leaf
        tree.push(leaf)
        lengths[number], supervised[number], inputs[number] = len(sample.ids), sample.supervised, sample.inputs
        languages.append(sample.language)
        tally.add(sample)
        prefixes[sample.split].add(sample)
        if sample.record in places:
            places[sample.record] = number
        train += not place[0]
    root = "sha256:" + tree.root().hex()
    if (root, len(rows)) != (told.root, told.samples):
        raise CoopError(f"{path}: the Merkle root of the samples is not the description's", value=root, allowed=told.root, next=_AGAIN)
    for row in _left_out(folder, told):
        tally.leave_out(row.language, row.split)
    if tally.counts() != told.languages:
        raise CoopError(f"{folder}: the description counts other samples", next=_AGAIN)
    sides: list[Samples] = []
    for split, first, end in (("train", 0, train), ("heldout", train, len(rows))):
        some = slice(first, end)
        sides.append(
            Samples(rows, first, bytes(leaves[32 * first : 32 * end]), lengths[some], supervised[some], languages[some], inputs[some], prefixes[split].tokens)
        )
    if told.pairs is None:
        return Tokens(folder, told, sides[0], sides[1])
    sizes = {record: (int(lengths[number]), int(supervised[number])) for record, number in places.items() if number >= 0}
    kept, counts = fitting(preferences, sizes, told.recipe.sequence_tokens)
    check_found(preferences, told.pairs.found, told.languages)
    if counts != told.pairs.languages:
        raise CoopError(f"{folder}: the description counts other pairs", next=_AGAIN)
    pairs = _pairs(sides, train, kept, places)
    return Tokens(folder, told, sides[0], sides[1], pairs[0], pairs[1])


def _pairs(sides: list[Samples], train: int, kept: list[Preference], places: dict[str, int]) -> list[Pairs]:
    """Return the pairs of both sides; raise CoopError for one that reaches over sides or languages."""
    found = []
    for split, first, samples in (("train", 0, sides[0]), ("heldout", train, sides[1])):
        some = [one for one in kept if one.split == split]
        numbers = np.array([(places[one.chosen] - first, places[one.rejected] - first) for one in some], np.int64).reshape(-1, 2)
        for one, pair in zip(some, numbers.tolist(), strict=True):
            if any(not 0 <= number < len(samples) or samples.languages[samples.codes[number]] != one.language for number in pair):
                raise CoopError("a pair of two sides or languages", value=one.chosen, next=_AGAIN)
        found.append(Pairs(samples, numbers))
    return found

"""Near copies within a language: MinHash finds candidates, the exact likeness of their characters decides, the earliest row stays.

    signatures(rows) -> array     one row at a time: any number of processes or cluster jobs may each do a part
    candidates(array) -> array    the join, once over all parts: which rows share a bucket
    families(array) -> labels     which rows can have to do with each other at all: each family may be resolved apart
    resolve(array, order, row)    each row against the rows kept so far, never against a dropped one

There is no transitive closure: a chain of small changes joins rows that have little in common. Prompt and answer must each be alike,
else every "see the manual of X" would be a copy of the first. Numbers, code and short texts must be equal: "12 + 3" and "13 + 4" are
two exercises, `tar xf` and `tar cf` two commands, "switch it on" and "switch it off" two requests. A cooperative that would rather lose such
rows than train on two of a kind votes `jaccard_only`, and the likeness alone decides. MinHash: Broder 1997,
doi:10.1109/SEQUEN.1997.666900; bands: Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, chapter 3.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Annotated, Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from data_pipeline.candidate import Candidate, Exclusion
from data_pipeline.deduplicate import folded
from data_pipeline.stages.code import is_code
from data_pipeline.stages.grams import Hashes, key, many_gram_hashes, mixed
from data_pipeline.stages.likeness import SIZE, Sketches, likeness
from data_pipeline.stages.stage import NO_EVIDENCE, Evidence, Parameters, priority

__all__ = [
    "BANDS",
    "ROWS_PER_BAND",
    "RULE",
    "Copy",
    "NearDuplicatesParameters",
    "Row",
    "candidates",
    "families",
    "near_duplicates",
    "resolve",
    "sides",
    "signatures",
    "surely_compared",
    "why",
]

RULE: Final = "near_duplicates/v1"
BANDS: Final = 22
ROWS_PER_BAND: Final = 5
"""Two rows of likeness s share a bucket with probability 1 - (1 - s^5)^22: 0.98 at 0.7, 0.50 at 0.5, 0.05 at 0.3."""

_BUCKET: Final = 256
_COMPARED: Final = 64
"""A bucket holds its earliest kept rows, and a row is compared with those it shares most buckets with: thousands of rows cut from one
template then cost their number, not its square. The price is a copy missed now and then inside such a family."""
_CHUNK: Final = 1 << 17
"""n-grams hashed at once; bounds memory, not the result."""
_NOBODY: Final[Mapping[int, Container[int]]] = {}
_SPACES = re.compile(r"\s+")
_NUMBERS = re.compile(r"\d+")
_SEEDS = mixed(np.arange(1, 2 * BANDS * ROWS_PER_BAND + 1, dtype=np.uint64))
_FACTORS = (_SEEDS[::2] >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
_TERMS = (_SEEDS[1::2] >> np.uint64(32)).astype(np.uint32)


class NearDuplicatesParameters(Parameters):
    """When two rows of one language are one."""

    likeness_permille: Annotated[int, Field(ge=500, le=1000)] = 700
    """Least Jaccard likeness of the 5-character n-grams, of the prompts and of the answers, in thousandths. Below 500 the buckets miss most pairs."""
    short_below: Annotated[int, Field(ge=0)] = 30
    """A prompt or answer of fewer letters, marks and digits must be equal but for case and punctuation: in a few words one other word is another meaning."""
    jaccard_only: Annotated[int, Field(ge=0, le=1)] = 0
    """1 lets the Jaccard likeness alone decide, as is usual; 0 also asks numbers, code and short sides to be equal."""

    @model_validator(mode="before")
    @classmethod
    def _none_is_short(cls, said: Any) -> Any:
        return {"short_below": 0, **said} if isinstance(said, dict) and said.get("jaccard_only") == 1 else said

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.jaccard_only and self.short_below:
            raise ValueError("with jaccard_only no side is too short: short_below is 0")
        return self


class Row(NamedTuple):
    """What of a row its likeness to others depends on."""

    language: str
    prompt: str
    """Earlier turns included."""
    answer: str

    @classmethod
    def of(cls, candidate: Candidate) -> Row:
        """Return what counts of a candidate."""
        return cls(candidate.language, candidate.prompt, candidate.targets)


class Copy(NamedTuple):
    """A row that is nearly another one."""

    row: int
    of: int
    """The kept row."""
    permille: int
    """How alike they are at least, prompt and answer."""


class _Text(NamedTuple):
    literals: tuple[object, ...]
    """What must be equal: language, numbers, and the sides that are code or short."""
    prose: tuple[str, ...]
    """The other sides."""

    def alike(self, other: _Text, least: int) -> int:
        """Return the likeness of the sides that are least alike, in thousandths rounded down, or 0 if that is below `least`."""
        permille = 1000
        for one, its in zip(self.prose, other.prose, strict=True):
            if one != its:
                permille = min(permille, int(likeness(one, its) * 1000))
                if permille < least:
                    return 0
        return permille


def sides(row: Row) -> tuple[str, str]:
    """Return prompt and answer as they are compared: case and compatibility forms folded, white space made one blank."""
    return _SPACES.sub(" ", folded(row.prompt)), _SPACES.sub(" ", folded(row.answer))


def signatures(rows: Iterable[Row]) -> Hashes:
    """Return one bucket number per row and band, shape (rows, BANDS); a row's numbers depend on that row only."""
    chunks = [np.empty((0, BANDS), dtype=np.uint64)]
    waiting: list[Row] = []
    size = 0
    for row in rows:
        waiting.append(row)
        size += len(row.prompt) + len(row.answer)
        if size >= _CHUNK:
            chunks.append(_bands(waiting))
            waiting, size = [], 0
    if waiting:
        chunks.append(_bands(waiting))
    return np.concatenate(chunks)


def candidates(numbers: Hashes) -> Hashes:
    """Return the numbers of `signatures` with 0 for each that no other row has in its column.

    Two rows are candidates if they share a number other than 0. The pairs are never listed: in a full bucket they grow with its square.
    """
    shared = np.zeros_like(numbers)
    for column, found in zip(numbers.T, shared.T, strict=True):
        order = np.argsort(column)
        ordered = column[order]
        same = ordered[1:] == ordered[:-1]
        met = np.zeros(len(order), dtype=bool)
        met[1:] |= same
        met[:-1] |= same
        places = order[met]
        found[places] = column[places]
    return shared


def families(shared: Hashes) -> NDArray[np.int64]:
    """Return a number for each row: rows that candidate pairs join, also over others, have the same; `resolve` may do each family apart."""
    rows = len(shared)
    label = np.arange(rows)
    groups = []
    for column in shared.T:
        members = np.flatnonzero(column)
        if len(members):
            members = members[np.argsort(column[members], kind="stable")]
            groups.append((members, np.flatnonzero(np.r_[True, column[members[1:]] != column[members[:-1]]])))
    changed = True
    while changed:
        changed = False
        for members, starts in groups:
            least = np.repeat(np.minimum.reduceat(label[members], starts), np.diff(np.r_[starts, len(members)]))
            if (least != label[members]).any():
                label[members] = np.minimum(least, label[members])
                changed = True
        label = label[label]
    return label


def resolve(
    shared: Hashes, order: Iterable[int], row: Callable[[int], Row], parameters: NearDuplicatesParameters, parents: Mapping[int, Container[int]] = _NOBODY
) -> list[Copy]:
    """Return the rows that are like one that is kept, each compared with those kept before it.

    Args:
        shared: from `candidates`; a row whose numbers are all 0 has no copy.
        order: the rows in the order of `priority`; all of a family, or of several.
        row: gives the text of a row.
        parameters: the threshold.
        parents: row -> the rows it is an edit of. A better wording of a text is no copy of it, however alike; the stage `review` asks edits for
            a least change.
    """
    buckets: dict[tuple[object, ...], list[int]] = defaultdict(list)
    rows = list(order)
    texts: dict[int, _Text] = {}
    sketches = Sketches(len(rows), lambda place: texts[place].prose)
    copies: list[Copy] = []
    for place, index in enumerate(rows):
        texts[place] = text = _text(row(index), parameters)
        mine = [buckets[band, number, text.literals] for band, number in enumerate(shared[index].tolist()) if number]
        met = Counter(chain.from_iterable(mine))
        nearest = sorted(met, key=lambda other: other - (met[other] << 48))[:_COMPARED]  # who shares most buckets, then the earliest
        for other in sketches.plausible(place, nearest, parameters.likeness_permille):
            permille, of = text.alike(texts[other], parameters.likeness_permille), rows[other]
            if permille and of not in parents.get(index, ()) and index not in parents.get(of, ()):
                copies.append(Copy(index, of, permille))
                del texts[place]
                break
        else:
            for bucket in mine:
                if len(bucket) < _BUCKET:
                    bucket.append(place)
    return copies


def surely_compared(copy: Copy, shared: Hashes, row: Callable[[int], Row], parameters: NearDuplicatesParameters) -> bool:
    """Tell whether `resolve` compares two rows in whatever order it gets them: neither meets more rows than are compared."""
    for index in (copy.row, copy.of):
        mine = shared[index]
        met = np.flatnonzero(((shared == mine) & (mine != 0)).any(axis=1)).tolist()
        if len(met) > _COMPARED + 1:  # itself is one
            literals = _text(row(index), parameters).literals
            if sum(_text(row(other), parameters).literals == literals for other in met) > _COMPARED + 1:
                return False
    return True


def near_duplicates(
    rows: Sequence[Candidate], parameters: NearDuplicatesParameters, evidence: Evidence = NO_EVIDENCE
) -> tuple[list[Candidate], list[Exclusion]]:
    """Keep the earliest of the rows of a language that are nearly the same; it credits the authors of the others."""
    texts = [Row.of(row) for row in rows]
    shared = candidates(signatures(texts))
    order = sorted(np.flatnonzero(shared.any(axis=1)).tolist(), key=lambda index: priority(rows[index]))
    kept: dict[int, Candidate] = dict(enumerate(rows))
    excluded: list[Exclusion] = []
    number = {row.record: index for index, row in enumerate(rows)}
    parents = {index: [number[parent] for parent in row.source.parents if parent in number] for index, row in enumerate(rows)}
    for copy in resolve(shared, order, texts.__getitem__, parameters, parents):
        kept[copy.of] = kept[copy.of].crediting(kept.pop(copy.row))
        excluded.append(Exclusion(rows[copy.row].record, "near_duplicate", why(copy, rows[copy.of].record, parameters)))
    return list(kept.values()), excluded


def why(copy: Copy, of: str, parameters: NearDuplicatesParameters) -> str:
    """Say to a row's author which record it is nearly the same as."""
    alone = " by its characters alone" if parameters.jaccard_only else ""
    return f"of {of}: {copy.permille} of 1000 alike{alone}, {parameters.likeness_permille} allowed"


def _text(row: Row, parameters: NearDuplicatesParameters) -> _Text:
    if parameters.jaccard_only:
        return _Text((row.language,), sides(row))
    literals: list[object] = [row.language]
    prose = []
    for raw, side in zip((row.prompt, row.answer), sides(row), strict=True):
        literals.append(_NUMBERS.findall(side))
        if is_code(raw):
            literals.append(_SPACES.sub(" ", raw))  # case matters: `popd -n` is not `popd -N`
        elif len(key(side)) < parameters.short_below:
            literals.append("".join(filter(_means, side)) or side)
        else:
            literals.append(None)
            prose.append(side)
    return _Text(tuple(map(str, literals)), tuple(prose))


@lru_cache(maxsize=1 << 16)
def _means(character: str) -> bool:
    """Tell whether a character makes a difference in a few words: all but blanks and punctuation, though `move-disk` is not `move_disk`."""
    category = unicodedata.category(character)
    return category[0] not in "ZCP" or category in ("Pd", "Pc")


def _bands(rows: Sequence[Row]) -> Hashes:
    grams, starts = many_gram_hashes(["\n".join(sides(row)) for row in rows], SIZE)
    values = (grams >> np.uint64(32)).astype(np.uint32)
    languages = np.array([_language(row.language) for row in rows], dtype=np.uint64)
    bands = np.empty((len(rows), BANDS), dtype=np.uint64)
    for band in range(BANDS):
        number = languages + np.uint64(band)
        for row in range(band * ROWS_PER_BAND, (band + 1) * ROWS_PER_BAND):
            number = mixed(number + np.minimum.reduceat(values * _FACTORS[row] + _TERMS[row], starts))
        bands[:, band] = number | np.uint64(1)  # 0 is `candidates`' word for "alone"
    return bands


@lru_cache(maxsize=1024)
def _language(language: str) -> int:
    return int.from_bytes(hashlib.blake2b(language.encode(), digest_size=8).digest())

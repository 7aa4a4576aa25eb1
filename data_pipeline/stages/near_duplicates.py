"""Near copies within a language: MinHash finds candidates, the exact likeness of their characters decides, the earliest row stays.

    signatures(rows) -> array     one row at a time: any number of processes or cluster jobs may each do a part
    candidates(array) -> array    the join, once over all parts: which rows share a bucket
    resolve(array, rows)          once: each row against the rows kept so far, never against a dropped one

There is no transitive closure: a chain of small changes joins rows that have little in common. Prompt and answer must each be alike,
else every "see the manual of X" would be a copy of the first. Numbers, code and short texts must be equal: "12 + 3" and "13 + 4" are
two exercises, `tar xf` and `tar cf` two commands, "switch it on" and "switch it off" two requests. MinHash: Broder 1997,
doi:10.1109/SEQUEN.1997.666900; bands: Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, chapter 3.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Final, NamedTuple

import numpy as np
from pydantic import Field

from data_pipeline.candidate import Candidate, Exclusion
from data_pipeline.deduplicate import folded
from data_pipeline.stages.code import is_code
from data_pipeline.stages.grams import Hashes, gram_hashes, key, mixed
from data_pipeline.stages.stage import NO_EVIDENCE, Evidence, Parameters, priority

__all__ = ["BANDS", "ROWS_PER_BAND", "RULE", "SIZE", "NearDuplicatesParameters", "candidates", "likeness", "near_duplicates", "resolve", "sides", "signatures"]

RULE: Final = "near_duplicates/v1"
SIZE: Final = 5
"""Characters of an n-gram. n-grams of words would leave rows of fewer words than n, many in a corpus of short rows, never compared."""
BANDS: Final = 22
ROWS_PER_BAND: Final = 5
"""Two rows of likeness s share a bucket with probability 1 - (1 - s^5)^22: 0.98 at 0.7, 0.50 at 0.5, 0.05 at 0.3."""

_BUCKET: Final = 256
_COMPARED: Final = 64
"""A bucket holds its earliest kept rows, and a row is compared with those it shares most buckets with: thousands of rows cut from one
template then cost their number, not its square. The price is a copy missed now and then inside such a family."""
_CHUNK: Final = 1 << 17
"""n-grams hashed at once; bounds memory, not the result."""
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


class _Text(NamedTuple):
    literals: tuple[object, ...]
    """What must be equal: numbers, and the sides that are code or short."""
    prose: tuple[str, ...]
    """The other sides."""


def sides(row: Candidate) -> tuple[str, str]:
    """Return prompt and answer as they are compared: case and compatibility forms folded, white space made one blank."""
    return _SPACES.sub(" ", folded(row.inputs)), _SPACES.sub(" ", folded(row.targets))


def likeness(one: str, other: str) -> Fraction:
    """Return the Jaccard likeness of the n-gram sets of two texts, exactly; a text shorter than an n-gram is one n-gram."""
    left, right = _grams(one), _grams(other)
    both = len(left & right)
    return Fraction(both, len(left) + len(right) - both)


def signatures(rows: Iterable[Candidate]) -> Hashes:
    """Return one bucket number per row and band, shape (rows, BANDS); a row's numbers depend on that row only."""
    chunks: list[Hashes] = []
    waiting: list[Hashes] = []
    grams = 0
    for row in rows:
        waiting.append(gram_hashes("\n".join(sides(row)), SIZE))
        grams += len(waiting[-1])
        if grams >= _CHUNK:
            chunks.append(_bands(waiting))
            waiting, grams = [], 0
    return np.concatenate([*chunks, _bands(waiting)])


def candidates(numbers: Hashes) -> Hashes:
    """Return the numbers of `signatures` with 0 for each that no other row has in its column.

    Two rows are candidates if they share a number other than 0. The pairs are never listed: in a full bucket they grow with its square.
    """
    shared = numbers.copy()
    for column in shared.T:
        _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
        column[counts[inverse] == 1] = 0
    return shared


def resolve(shared: Hashes, rows: Sequence[Candidate], parameters: NearDuplicatesParameters) -> tuple[list[Candidate], list[Exclusion]]:
    """Keep, in order of `priority`, each row that is like no candidate kept before it; the kept row it is like credits its authors.

    Args:
        shared: from `candidates`, in the order of `rows`.
        rows: rows of one language.
        parameters: the threshold.
    """
    buckets: dict[tuple[object, ...], list[int]] = defaultdict(list)
    texts: dict[int, _Text] = {}
    kept: dict[int, Candidate] = {}
    excluded: list[Exclusion] = []
    ordered = sorted(range(len(rows)), key=lambda index: priority(rows[index]))
    rank = {index: place for place, index in enumerate(ordered)}
    for index in ordered:
        row = rows[index]
        mine: list[list[int]] = []
        alike = twin = None
        if shared[index].any():
            text = texts[index] = _text(row, parameters.short_below)
            mine = [buckets[band, int(number), text.literals] for band, number in enumerate(shared[index]) if number]
            met = Counter(other for bucket in mine for other in bucket)
            for other in sorted(met, key=lambda other: (-met[other], rank[other]))[:_COMPARED]:
                alike = min((likeness(*pair) for pair in zip(text.prose, texts[other].prose, strict=True)), default=Fraction(1))
                if alike * 1000 >= parameters.likeness_permille:
                    twin = other
                    break
        if twin is None or alike is None:
            kept[index] = row
            for bucket in mine:
                if len(bucket) < _BUCKET:
                    bucket.append(index)
        else:
            first = kept[twin]
            credited = {*first.credited, *row.source.authors, *row.credited} - set(first.source.authors)
            kept[twin] = replace(first, credited=tuple(sorted(credited)))
            excluded.append(
                Exclusion(row.record, "near_duplicate", f"of {first.record}: {int(alike * 1000)} of 1000 alike, {parameters.likeness_permille} allowed")
            )
    return list(kept.values()), excluded


def near_duplicates(
    rows: Sequence[Candidate], parameters: NearDuplicatesParameters, evidence: Evidence = NO_EVIDENCE
) -> tuple[list[Candidate], list[Exclusion]]:
    """Keep the earliest of the rows of a language that are nearly the same; it credits the authors of the others."""
    languages: dict[str, list[Candidate]] = defaultdict(list)
    for row in rows:
        languages[row.language].append(row)
    kept: list[Candidate] = []
    excluded: list[Exclusion] = []
    for language in sorted(languages):
        some, copies = resolve(candidates(signatures(languages[language])), languages[language], parameters)
        kept += some
        excluded += copies
    return kept, excluded


@lru_cache(maxsize=4096)
def _grams(text: str) -> frozenset[str]:
    return frozenset(text[start : start + SIZE] for start in range(max(len(text) - SIZE + 1, 1)))


def _text(row: Candidate, short_below: int) -> _Text:
    literals: list[object] = []
    prose = []
    for raw, side in zip((row.inputs, row.targets), sides(row), strict=True):
        literals.append(_NUMBERS.findall(side))
        if is_code(raw):
            literals.append(_SPACES.sub(" ", raw))  # case matters: `popd -n` is not `popd -N`
        elif len(key(side)) < short_below:
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


def _bands(grams: Sequence[Hashes]) -> Hashes:
    bands = np.empty((len(grams), BANDS), dtype=np.uint64)
    if not grams:
        return bands
    values = (np.concatenate(grams) >> np.uint64(32)).astype(np.uint32)
    starts = np.cumsum([0, *(len(some) for some in grams[:-1])])
    for band in range(BANDS):
        number = np.full(len(grams), band, dtype=np.uint64)
        for row in range(band * ROWS_PER_BAND, (band + 1) * ROWS_PER_BAND):
            number = mixed(number + np.minimum.reduceat(values * _FACTORS[row] + _TERMS[row], starts))
        bands[:, band] = number | np.uint64(1)  # 0 is `candidates`' word for "alone"
    return bands

"""Leave out rows that hold a question of an evaluation suite, so that its score still measures something.

A row is hit if it contains at least half of an item's character n-grams. The share is of the item, not of the row: a question
pasted after a long greeting is still the question. n is 16, or 8 for an item written mostly in Chinese, Japanese, Korean, Thai
or Lao characters, of which one says more. Letters, marks and digits count; case, punctuation and white space do not.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field

from data_pipeline.candidate import Candidate, Exclusion
from data_pipeline.stages.grams import Hashes, gram_hashes, key, many_gram_hashes
from data_pipeline.stages.stage import NO_EVIDENCE, Evidence, Item, Parameters, Suite
from governance_hooks.canonical import digest, sha256
from governance_hooks.errors import BadInput

__all__ = ["DENSE", "MAX_SUITE_BYTES", "RULE", "SIZE", "DecontaminationParameters", "Index", "decontaminate", "index", "read_suite", "suite"]

RULE: Final = "decontamination/v1"
SIZE: Final = 16
DENSE: Final = 8
MAX_SUITE_BYTES: Final = 64 * 1024 * 1024
_BITS: Final = 24
_PAGE: Final = 1024
"""Rows looked at at once; bounds memory, not the result."""

_DENSE = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


class DecontaminationParameters(Parameters):
    """When a row holds an item."""

    containment_permille: Annotated[int, Field(ge=1, le=1000)] = 500
    """Least share of the item's n-grams that the row contains, in thousandths."""


class _Grams:
    """The n-grams of one size, as sorted arrays: an index in dictionaries would take a hundred megabytes in each process."""

    def __init__(self, size: int, hashes: Sequence[Hashes], places: Sequence[int]) -> None:
        self.size = size
        every = np.concatenate(hashes)
        of = np.repeat(np.array(places, dtype=np.int32), [len(some) for some in hashes])
        order = np.argsort(every, kind="stable")
        self._all, self._of = every[order], of[order]
        self._first_bits = np.zeros(1 << _BITS, dtype=bool)
        self._first_bits[every >> np.uint64(64 - _BITS)] = True

    def __len__(self) -> int:
        return len(np.unique(self._all))

    def suspects(self, texts: Sequence[str]) -> set[int]:
        """Return the places of texts that hold any of the n-grams at all, which few do."""
        found: set[int] = set()
        for start in range(0, len(texts), _PAGE):
            grams, starts = many_gram_hashes(texts[start : start + _PAGE], self.size)
            likely = np.flatnonzero(self._first_bits[grams >> np.uint64(64 - _BITS)])
            near = self._all[np.minimum(np.searchsorted(self._all, grams[likely]), len(self._all) - 1)]
            hits = likely[near == grams[likely]]
            found.update((np.searchsorted(starts, hits, side="right") - 1 + start).tolist())
        return found

    def items(self, text: str) -> Counter[int]:
        """Return how many of its n-grams each item shares with a text."""
        grams = np.unique(gram_hashes(text, self.size))
        begin, end = np.searchsorted(self._all, grams, side="left"), np.searchsorted(self._all, grams, side="right")
        return Counter(place for start, stop in zip(begin.tolist(), end.tolist(), strict=True) if start < stop for place in self._of[start:stop].tolist())


@dataclass(frozen=True, slots=True)
class Index:
    """The n-grams of all items of all suites."""

    items: tuple[tuple[str, str, int], ...]
    """(suite, item, number of its n-grams)."""
    grams: tuple[_Grams, ...]
    unindexed: tuple[tuple[str, str], ...]
    """(suite, item) of items too short for one n-gram: they cannot be told from chance, so they protect nothing."""


def suite(name: str, items: Sequence[Item]) -> Suite:
    """Return a suite from a list, with the digest of the list."""
    return Suite(name, digest([[item.item, item.text] for item in items]), tuple(items))


def read_suite(path: Path, name: str) -> Suite:
    """Read a suite of JSON lines, each an object of `item` and `text`.

    Raises:
        BadInput: the file cannot be read, is too large, has no line, a line of another form, or an item twice.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_SUITE_BYTES else b""
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", allowed="JSON lines of item and text") from error
    if size > MAX_SUITE_BYTES:
        raise BadInput(f"{path} is too large", value=size, allowed=f"at most {MAX_SUITE_BYTES} bytes")
    items: dict[str, Item] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{path}, line {number}: not JSON in UTF-8", allowed='{"item": "...", "text": "..."}') from error
        if not isinstance(row, dict) or sorted(row) != ["item", "text"] or not all(isinstance(value, str) for value in row.values()):
            raise BadInput(f"{path}, line {number}: not an item", value=row, allowed='{"item": "...", "text": "..."}')
        if row["item"] in items:
            raise BadInput(f"{path}, line {number}: item given twice", value=row["item"])
        items[row["item"]] = Item(row["item"], row["text"])
    if not items:
        raise BadInput(f"{path} holds no item", allowed="JSON lines of item and text")
    return Suite(name, sha256(data), tuple(items.values()))


def index(suites: Iterable[Suite]) -> Index:
    """Index the items of suites; the order of suites and items decides only which of two equal hits is named."""
    items: list[tuple[str, str, int]] = []
    unindexed: list[tuple[str, str]] = []
    hashes: dict[int, list[Hashes]] = {SIZE: [], DENSE: []}
    places: dict[int, list[int]] = {SIZE: [], DENSE: []}
    for one in sorted(suites, key=lambda one: (one.name, one.digest)):
        for item in one.items:
            text = key(item.text)
            size = DENSE if 3 * len(_DENSE.findall(text)) > len(text) else SIZE
            if len(text) < size:
                unindexed.append((one.name, item.item))
                continue
            hashes[size].append(np.unique(gram_hashes(text, size)))
            places[size].append(len(items))
            items.append((one.name, item.item, len(hashes[size][-1])))
    return Index(tuple(items), tuple(_Grams(size, some, places[size]) for size, some in hashes.items() if some), tuple(unindexed))


def decontaminate(
    rows: Sequence[Candidate], parameters: DecontaminationParameters, evidence: Evidence = NO_EVIDENCE
) -> tuple[list[Candidate], list[Exclusion]]:
    """Leave out rows that contain an item of `evidence.suites`; the reason names suite, item and share."""
    known = _known(evidence.suites)
    texts = [key(f"{row.prompt}\n{row.targets}") for row in rows]
    suspects = set().union(*(grams.suspects(texts) for grams in known.grams))
    kept: list[Candidate] = []
    excluded: list[Exclusion] = []
    for place, row in enumerate(rows):
        hit = _hit(texts[place], known) if place in suspects else None
        if hit is None or hit[0] < parameters.containment_permille:
            kept.append(row)
        else:
            share, name, item = hit
            excluded.append(
                Exclusion(row.record, "evaluation_item", f"holds {share} of 1000 of item {item} of {name}, {parameters.containment_permille} is too much")
            )
    return kept, excluded


@lru_cache(maxsize=1)
def _known(suites: tuple[Suite, ...]) -> Index:
    return index(suites)


def _hit(text: str, known: Index) -> tuple[int, str, str] | None:
    """Return (per mille, suite, item) of the item most of which the text contains, the first of equal ones."""
    counts: Counter[int] = Counter()
    for grams in known.grams:
        if len(text) >= grams.size:
            counts.update(grams.items(text))
    if not counts:
        return None
    place = min(counts, key=lambda place: (-counts[place] * 1000 // known.items[place][2], place))
    name, item, total = known.items[place]
    return counts[place] * 1000 // total, name, item

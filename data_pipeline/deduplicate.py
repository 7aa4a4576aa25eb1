"""Exact duplicates within a language: of several copies the earliest stays.

The key ignores case and compatibility forms (NFKC and case folding); it decides only what is equal, the kept text is not
changed. Runs after the consent rule, so that a withdrawal frees the copy of somebody who stays.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

from data_pipeline.candidate import Candidate, Exclusion

__all__ = ["RULE", "deduplicate", "folded"]

RULE: Final = "exact_dedup/v1"


def folded(text: str) -> str:
    """Return the form under which texts count as equal: NFKC, case folded, and NFKC again since folding can undo it."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def deduplicate(candidates: Iterable[Candidate]) -> tuple[list[Candidate], list[Exclusion]]:
    """Keep one candidate for each (language, prompt, answer): the earliest by (created_at, record), never by input order."""
    kept: dict[tuple[str, str, str], Candidate] = {}
    excluded: list[Exclusion] = []
    for candidate in sorted(candidates, key=lambda c: (c.source.created_at, c.record)):
        key = (candidate.language, folded(candidate.inputs), folded(candidate.targets))
        first = kept.setdefault(key, candidate)
        if first is not candidate:
            excluded.append(Exclusion(candidate.record, "duplicate", f"of {first.record}"))
    return list(kept.values()), excluded

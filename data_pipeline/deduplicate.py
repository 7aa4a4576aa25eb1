"""Exact duplicates within a language: of several copies the earliest stays and credits the authors of the others.

The key ignores case and compatibility forms (NFKC and case folding), but not in code, where case has meaning; it decides only what is
equal, the kept text is not changed. Runs after the consent rule, so that a withdrawal frees the copy of somebody who stays.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from typing import Final

from data_pipeline.candidate import Candidate, Exclusion
from data_pipeline.stages.code import is_code

__all__ = ["KEY_BYTES", "RULE", "copy_key", "deduplicate", "folded"]

RULE: Final = "exact_dedup/v2"
KEY_BYTES: Final = 16


def folded(text: str) -> str:
    """Return the form under which texts count as equal: NFKC, case folded, and NFKC again since folding can undo it."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def copy_key(language: str, texts: Iterable[str]) -> bytes:
    """Return the 16 bytes that are equal for copies: of the language and every text of the row, earlier turns included."""
    # No text holds a NUL (data_pipeline.text), so the parts cannot be cut otherwise.
    parts = [text if is_code(text) else folded(text) for text in texts]
    return hashlib.blake2b("\0".join([language, *parts]).encode(), digest_size=KEY_BYTES).digest()


def deduplicate(candidates: Iterable[Candidate]) -> tuple[list[Candidate], list[Exclusion]]:
    """Keep one candidate of each key: the earliest by (created_at, record), never by input order."""
    kept: dict[bytes, Candidate] = {}
    excluded: list[Exclusion] = []
    for candidate in sorted(candidates, key=lambda c: (c.source.created_at, c.record)):
        key = copy_key(candidate.language, candidate.texts)
        first = kept.setdefault(key, candidate)
        if first is not candidate:
            kept[key] = first.crediting(candidate)
            excluded.append(Exclusion(candidate.record, "duplicate", f"of {first.record}"))
    return list(kept.values()), excluded

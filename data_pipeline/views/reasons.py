"""Reasons and marks of a build in words a member understands."""

from __future__ import annotations

import re
from typing import Final

from data_pipeline.record import IDENTIFIER

__all__ = ["MARKS", "REASONS", "in_words", "mark_in_words", "row_named"]

REASONS: Final = {
    "unsealed": "it was not yet sealed in the log",
    "erased": "its text was erased",
    "no_consent": "somebody whose text it rests on had no consent in force for this use",
    "empty": "its prompt or answer has nothing to read",
    "too_long": "it is longer than the build takes",
    "duplicate": "it says the same as a record that came earlier, whose row now thanks its authors",
    "near_duplicate": "it says nearly the same as a record that came earlier, whose row now thanks its authors",
    "echo": "its answer only repeats its prompt",
    "too_short": "its prompt or answer is shorter than members voted",
    "repeated_lines": "it repeats the same lines over and over",
    "repeated_text": "it repeats the same words over and over",
    "evaluation_item": "it holds a question by which models are examined",
    "small_edit": "it is an edit that changed next to nothing",
    "rated_low": "other members rated it lower than members voted",
    "unreviewed": "too few other members have rated it yet",
}
"""Reason of an exclusion -> the end of a sentence that begins with "left out because"."""

MARKS: Final = {
    "echo": "the answer repeats the prompt",
    "unreviewed": "too few other members have rated it",
    "language_doubt": "the text reads like another language than it was given under",
    "script_doubt": "the text is in another script than its language is written in",
    "language_unjudged": "whether the text is in its language could not be judged",
    "pii": "personal data in it was replaced",
}
"""First part of a mark, up to its colon -> what was noticed."""

_ROW: Final = {"duplicate", "near_duplicate", "small_edit"}
_NAMED = re.compile(rf"of ({IDENTIFIER.pattern}?)(?:: |$)")


def in_words(reason: str, detail: str) -> str:
    """Return why a record was left out; other members are not named, and a reason nobody wrote words for is shown as it is."""
    if reason not in REASONS:
        return f"{reason}: {detail}"
    other = row_named(reason, detail)
    return REASONS[reason] + (f" (record {other})" if other else "")


def mark_in_words(mark: str) -> str:
    """Return what a mark says; one nobody wrote words for is shown as it is."""
    kind, _, what = mark.partition(":")
    return (MARKS[kind] + (f" ({what})" if what else "")) if kind in MARKS else mark


def row_named(reason: str, detail: str) -> str | None:
    """Return the id of the row before which a record had to step back, if the reason names one."""
    found = _NAMED.match(detail) if reason in _ROW else None
    return found[1] if found else None

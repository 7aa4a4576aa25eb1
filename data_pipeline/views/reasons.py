"""Reasons and marks of a build in words a member understands."""

from __future__ import annotations

import re
from typing import Final

from data_pipeline.record import IDENTIFIER
from governance_hooks.sentence import Sentence

__all__ = ["MARKS", "REASONS", "in_words", "mark_in_words", "row_named"]

REASONS: Final = {
    "unsealed": Sentence("it was not yet signed for in the log"),
    "erased": Sentence("its text was erased"),
    "no_consent": Sentence("somebody whose text it rests on had no consent in force for this use"),
    "empty": Sentence("its prompt or answer has nothing to read"),
    "too_long": Sentence("it is longer than the dataset takes"),
    "duplicate": Sentence("it says the same as a text that came earlier, whose row now thanks its authors"),
    "near_duplicate": Sentence("it says nearly the same as a text that came earlier, whose row now thanks its authors"),
    "echo": Sentence("its answer only repeats its prompt"),
    "too_short": Sentence("its prompt or answer is shorter than members voted"),
    "repeated_lines": Sentence("it repeats the same lines over and over"),
    "repeated_text": Sentence("it repeats the same words over and over"),
    "evaluation_item": Sentence("it holds a question by which models are examined"),
    "small_edit": Sentence("it is an edit that changed next to nothing"),
    "rated_low": Sentence("other members rated it lower than members voted"),
    "unreviewed": Sentence("too few other members have rated it yet"),
}
"""Reason of an exclusion -> the end of a sentence that begins with "left out because"."""

MARKS: Final = {
    "echo": Sentence("the answer repeats the prompt"),
    "unreviewed": Sentence("too few other members have rated it"),
    "language_doubt": Sentence("the text reads like another language than it was given under"),
    "script_doubt": Sentence("the text is in another script than its language is written in"),
    "language_unjudged": Sentence("whether the text is in its language could not be judged"),
    "pii": Sentence("personal data in it was replaced"),
}
"""First part of a mark, up to its colon -> what was noticed."""

_ROW: Final = {"duplicate", "near_duplicate", "small_edit"}
_NAMED = re.compile(rf"of ({IDENTIFIER.pattern}?)(?:: |$)")


def in_words(reason: str, detail: str) -> str:
    """Return why a record was left out; other members are not named, and a reason nobody wrote words for is shown as it is."""
    if reason not in REASONS:
        return f"{reason}: {detail}"
    other = row_named(reason, detail)
    return Sentence("{why} (text {other})", why=REASONS[reason], other=other) if other else REASONS[reason]


def mark_in_words(mark: str) -> str:
    """Return what a mark says; one nobody wrote words for is shown as it is."""
    kind, _, what = mark.partition(":")
    if kind not in MARKS:
        return mark
    return Sentence("{mark} ({what})", mark=MARKS[kind], what=what) if what else MARKS[kind]


def row_named(reason: str, detail: str) -> str | None:
    """Return the id of the row before which a record had to step back, if the reason names one."""
    found = _NAMED.match(detail) if reason in _ROW else None
    return found[1] if found else None

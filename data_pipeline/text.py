"""What no contributed text may contain, and what a refusal of it says."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

from governance_hooks.sentence import Sentence

__all__ = ["MAX_REASONS_BYTES", "MAX_TEXT_BYTES", "Problem", "as_seen", "is_blank", "text_problems"]

MAX_TEXT_BYTES: Final = 100_000
"""Largest prompt or answer, in UTF-8 bytes."""
MAX_REASONS_BYTES: Final = 20_000
"""Longest reasons of a proposal."""

# Tab and the line ends are text; the other C0 and C1 controls are terminal escapes or damage.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_OVERRIDES = "\u202d\u202e"
_CLOSED_BY = {"\u202a": "\u202c", "\u202b": "\u202c", "\u2066": "\u2069", "\u2067": "\u2069", "\u2068": "\u2069"}
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(one) for one in range(0xFE00, 0xFE10)}
"""Fillers, joiners and variation selectors: letters or marks by their category, and nothing to see."""
_PARAGRAPH = re.compile("[\r\n\x85\u2029]")


class Problem(NamedTuple):
    """One reason to refuse a draft: what, the offending value, what is allowed."""

    what: str
    value: object = None
    allowed: str | None = None

    def __str__(self) -> str:
        shown = "" if self.value is None else f" (got {ascii(self.value) if len(ascii(self.value)) <= 60 else ascii(self.value)[:57] + '...'})"
        return f"{self.what}{shown}" + (f"; allowed: {self.allowed}" if self.allowed else "")


def is_blank(text: str) -> bool:
    """Tell whether a text shows nothing: only spaces, format characters and controls."""
    return all(unicodedata.category(character)[0] in "ZC" for character in text)


def as_seen(text: str) -> str:
    """Return what an eye can tell of a line: letters in one form (NFKC), blanks as one, and nothing of what shows nothing."""
    plain = unicodedata.normalize("NFKC", text)
    return " ".join("".join(one for one in plain if unicodedata.category(one) != "Cf" and one not in _UNSEEN).split())


def text_problems(name: str, text: str, max_text_bytes: int = MAX_TEXT_BYTES) -> Iterator[Problem]:
    """Yield what forbids a text, if anything: its size, damage, controls, a direction that leaks out of it, or nothing to see.

    Overrides (U+202D, U+202E) make any text read as another one, so they are refused; embeddings and isolates, which Arabic and
    Hebrew writers use around foreign words, may stand if they are closed in order before their paragraph ends (UAX #9; the
    attack is Boucher and Anderson, Trojan Source, arXiv 2111.00169).
    """
    if len(text) > max_text_bytes:  # a character is at least a byte: refuse before encoding it
        yield Problem(Sentence("{name} is too long", name=name), f"{len(text)} characters", Sentence("at most {count} bytes of UTF-8", count=max_text_bytes))
        return
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        yield Problem(Sentence("{name} holds a lone surrogate at character {place}", name=name, place=error.start), text[error.start], "Unicode scalar values")
        return
    if size > max_text_bytes:
        yield Problem(Sentence("{name} is too long", name=name), f"{size} bytes", Sentence("at most {count} bytes of UTF-8", count=max_text_bytes))
    elif found := _CONTROL.search(text):
        label = "NUL" if found[0] == "\0" else Sentence("a control character")
        what = Sentence("{name} holds {label} at character {place}", name=name, label=label, place=found.start())
        yield Problem(what, found[0], Sentence("printable text, tabs and line ends"))
    elif _BIDI.search(text) and (leak := _leak(text)) is not None:
        place, character = leak
        label = Sentence("a direction override") if character in _OVERRIDES else Sentence("a direction control without its partner")
        what = Sentence("{name} holds {label} at character {place}", name=name, label=label, place=place)
        yield Problem(what, character, Sentence("no overrides; embeddings and isolates closed in their own paragraph"))
    elif is_blank(text):
        yield Problem(Sentence("{name} is empty", name=name), text, Sentence("at least one visible character"))


def _leak(text: str) -> tuple[int, str] | None:
    """Return place and character of the first direction control that is an override, or is not closed in order before its paragraph ends."""
    start = 0
    for paragraph in _PARAGRAPH.split(text):
        opened: list[tuple[int, str]] = []
        for found in _BIDI.finditer(paragraph):
            place, character = start + found.start(), found[0]
            if character in _CLOSED_BY:
                opened.append((place, character))
            elif not opened or _CLOSED_BY[opened.pop()[1]] != character:
                return place, character
        if opened:
            return opened[0]
        start += len(paragraph) + 1
    return None

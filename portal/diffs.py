"""What changed from one text to another: by line for documents, by word for short texts. Bounded: no pair of texts keeps the server busy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

__all__ = ["Piece", "line_changes", "readable", "word_changes"]

MAX_LINES: Final = 800
"""Lines that differ, on either side, above which both sides are shown whole; comparing them line by line costs the square."""
MAX_SHOWN: Final = 400
MAX_WORDS: Final = 600
_UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Thai, Lao, Burmese, Khmer, kana, Han: scripts that put no space between words."""
_MARKS: Final = "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u102b-\u103e\u17b4-\u17d3\u17dd\u3099\u309a\ufe00-\ufe0f"
_WORD: Final = re.compile(rf"\s+|[{_UNSPACED}][{_MARKS}]*|[^\s{_UNSPACED}]+")
"""What is compared: words, spaces, and letters with their marks where nothing tells words apart."""


class Piece(NamedTuple):
    """A piece of a comparison."""

    kind: Literal["same", "added", "removed"]
    text: str


def readable(text: str) -> list[str]:
    """Return a text as lines; a canonical document, which is one line, is broken where its fields end."""
    if text.startswith("{") and "\n" not in text:
        text = re.sub(r"([,{\[])(?=[\"{\[])", r"\1\n", text)
    return [line[:2000] for line in text.splitlines()[:50_000]]


def line_changes(old: list[str], new: list[str], *, around: int = 2) -> tuple[list[Piece], bool]:
    """Return the changed lines with some lines around each, and whether all are shown.

    What both sides begin and end with is left out first. If more than MAX_LINES are left on a side, they are not compared: the old ones
    are shown as gone and the new ones as come.
    """
    start, end = _shared(old, new)
    before, after = old[start : len(old) - end], new[start : len(new) - end]
    found = [Piece("same", line) for line in old[max(0, start - around) : start]]
    if max(len(before), len(after)) > MAX_LINES:
        found += [Piece("removed", line) for line in before[: MAX_SHOWN // 2]] + [Piece("added", line) for line in after[: MAX_SHOWN // 2]]
        return found, False
    # autojunk keeps lines that stand very often from being compared with each other.
    matcher = difflib.SequenceMatcher(None, before, after)
    for group in matcher.get_grouped_opcodes(around):
        for tag, i, j, k, m in group:
            if tag == "equal":
                found += [Piece("same", line) for line in before[i:j]]
            else:
                found += [Piece("removed", line) for line in before[i:j]] + [Piece("added", line) for line in after[k:m]]
    if before or after:
        found += [Piece("same", line) for line in old[len(old) - end : len(old) - end + around]] if end else []
    else:
        found = []
    return found[:MAX_SHOWN], len(found) <= MAX_SHOWN


def word_changes(old: str, new: str) -> list[Piece]:
    """Return a text with what came and what went, word by word; where much changed between what both begin and end with, that is shown as gone and come, whole."""
    before, after = _WORD.findall(old), _WORD.findall(new)
    start, end = _shared(before, after)
    middle, changed = before[start : len(before) - end], after[start : len(after) - end]
    found = [Piece("same", "".join(before[:start]))] if start else []
    if max(len(middle), len(changed)) > MAX_WORDS:
        found += [Piece("removed", "".join(middle))] if middle else []
        found += [Piece("added", "".join(changed))] if changed else []
    else:
        for tag, i, j, k, m in difflib.SequenceMatcher(None, middle, changed, autojunk=True).get_opcodes():
            if tag == "equal":
                found.append(Piece("same", "".join(middle[i:j])))
                continue
            found += [Piece("removed", "".join(middle[i:j]))] if j > i else []
            found += [Piece("added", "".join(changed[k:m]))] if m > k else []
    return found + ([Piece("same", "".join(after[len(after) - end :]))] if end else [])


def _shared(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """Return how many pieces two texts begin with alike, and how many of the others they end with alike."""
    start = end = 0
    least = min(len(old), len(new))
    while start < least and old[start] == new[start]:
        start += 1
    while end < least - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return start, end

"""What changed from one text to another: by line for documents, by word for short texts. Bounded: no pair of texts keeps the server busy."""

from __future__ import annotations

import difflib
import re
from typing import Final, Literal, NamedTuple

__all__ = ["Piece", "line_changes", "readable", "word_changes"]

MAX_LINES: Final = 800
"""Lines that differ, on either side, above which both sides are shown whole; comparing them line by line costs the square."""
MAX_SHOWN: Final = 400
MAX_WORDS: Final = 600


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
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
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
    """Return a short text with what came and what went, word by word; long ones are shown as gone and come, whole."""
    before, after = re.findall(r"\s+|\S+", old), re.findall(r"\s+|\S+", new)
    if max(len(before), len(after)) > MAX_WORDS:
        return [Piece("same", new)] if old == new else [Piece("removed", old), Piece("added", new)]
    found = list[Piece]()
    for tag, i, j, k, m in difflib.SequenceMatcher(None, before, after, autojunk=True).get_opcodes():
        if tag == "equal":
            found.append(Piece("same", "".join(before[i:j])))
            continue
        found += [Piece("removed", "".join(before[i:j]))] if j > i else []
        found += [Piece("added", "".join(after[k:m]))] if m > k else []
    return found

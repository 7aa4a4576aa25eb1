"""Which items of a task stand in the training texts: shared runs of 13 words, or of 20 characters in scripts without spaces.

Runs of 13 words are those of GPT-3 (arXiv 2005.14165, appendix C); the longest common run and the share covered are ConTAM's (arXiv
2411.03923). Nothing is left out of the data here: each item says how much of it training could have shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Overlap", "overlaps", "units"]

Progress = Callable[[str, int, int], None]
WORDS: Final = (13, 8)
CHARACTERS: Final = (20, 12)
"""Length of a run that counts, and of one in an item that is shorter than that; a shorter item cannot be told from chance."""
_DENSE = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Burmese, Khmer, Japanese, Chinese: written without spaces between words."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of an item stands in the training texts."""

    overlap: int = 0
    """Share of its words (or characters) inside a shared run, in thousandths."""
    longest: int = 0
    """Longest shared run, words (or characters); 0 if none is long enough to count."""


class _Table(dict[int, str]):
    """Letters, marks and digits stay, all else becomes a blank; looked up once for each character."""

    def __missing__(self, code: int) -> str:
        kind = unicodedata.category(chr(code))
        self[code] = made = chr(code) if kind[0] in "LMN" else "" if kind == "Cf" else " "
        return made


_TABLE: Final = _Table()


def units(text: str) -> tuple[list[str], bool]:
    """Return the words of a text, or its characters if it is mostly written without spaces, and which of them they are."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_TABLE)
    letters = plain.replace(" ", "")
    dense = 3 * len(_DENSE.findall(letters)) > len(letters)
    return (list(letters) if dense else plain.split()), dense


def _runs(items: Sequence[Sequence[str]], places: Iterable[int], size: int) -> dict[tuple[str, ...], list[tuple[int, int]]]:
    found: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for place in places:
        for start in range(len(items[place]) - size + 1):
            found[tuple(items[place][start : start + size])].append((place, start))
    return dict(found)


def overlaps(items: Sequence[str], training: Sequence[str], *, progress: Progress | None = None) -> list[Overlap]:
    """Return for each item how much of it stands in any of the training texts.

    Runs that follow each other on both sides are one run, so `longest` is exactly the longest common run where it reaches the size that counts.
    """
    split = [units(text) for text in items]
    indices = []
    for dense, (size, short) in ((False, WORDS), (True, CHARACTERS)):
        for length, least, most in ((size, size, None), (short, short, size)):
            places = [place for place, (parts, kind) in enumerate(split) if kind == dense and len(parts) >= least and (most is None or len(parts) < most)]
            if places:
                indices.append((dense, length, _runs([parts for parts, _ in split], places, length)))
    covered: dict[int, set[int]] = defaultdict(set)
    longest: dict[int, int] = defaultdict(int)
    for done, text in enumerate(training, 1):
        words, dense = units(text)
        letters = list("".join(words)) if any(index[0] for index in indices) and (dense or _DENSE.search(text)) else []
        for of_characters, length, runs in indices:
            parts = letters if of_characters else words
            before: dict[tuple[int, int], int] = {}
            for start in range(len(parts) - length + 1):
                now: dict[tuple[int, int], int] = {}
                for place, at in runs.get(tuple(parts[start : start + length]), ()):
                    now[place, at] = before.get((place, at - 1), 0) + 1
                    covered[place].update(range(at, at + length))
                    longest[place] = max(longest[place], now[place, at] + length - 1)
                before = now
        if progress and (done % 500 == 0 or done == len(training)):
            progress("look for items in the training texts", done, len(training))
    return [
        Overlap(max(1, 1000 * len(covered[place]) // len(parts)), longest[place]) if covered[place] else Overlap() for place, (parts, _) in enumerate(split)
    ]

"""Tell code from prose by its symbols, in any script.

Command lines and programs are written alike under every language, so a language model would guess at them; and one character makes
another program, so they are never near copies of each other.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["CODE_PERMILLE", "is_code", "prose", "words"]

CODE_PERMILLE: Final = 100
"""A text with this share of symbols among its visible characters is code."""

_SYMBOL = re.compile(r"[][{}<>|$=\\/_;&*#~^`+-]")
_QUOTED = re.compile(r"`[^`]*`|\{\{[^{}]*\}\}")
_LITERAL = re.compile(r"^-|[][{}<>|$=\\/_@#~^&*0-9]")


def is_code(text: str) -> bool:
    """Tell whether at least `CODE_PERMILLE` of the visible characters are symbols of code."""
    return len(_SYMBOL.findall(text)) * 1000 >= CODE_PERMILLE * sum(map(len, text.split())) > 0


def words(text: str) -> str:
    """Return a text without code in backticks, placeholders, options, and ASCII words that hold a digit or a symbol other than a hyphen."""
    return " ".join(word for word in _QUOTED.sub(" ", text).split() if not (word.isascii() and _LITERAL.search(word)))


def prose(text: str) -> str:
    """Return the words of a text, or nothing if what stands outside backticks is code."""
    return "" if is_code(_QUOTED.sub(" ", text)) else words(text)

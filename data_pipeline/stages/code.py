"""Tell code from prose by its symbols, in any script.

Command lines and programs are written alike under every language, so a language model would guess at them; and one character makes
another program, so they are never near copies of each other.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["CODE_PERMILLE", "is_code", "prose"]

CODE_PERMILLE: Final = 100
"""A text with this share of symbols among its visible characters is code."""

_SYMBOL = re.compile(r"[][{}<>|$=\\/_;&*#~^`+-]")
# Placeholders, code in backticks, options, and words that hold a digit or a symbol other than a hyphen.
_LITERAL = re.compile(r"\{\{[^{}]*\}\}|`[^`]*`|(?<!\S)-\S+|\S*[][{}<>|$=\\/_@#~^&*0-9]\S*")


def is_code(text: str) -> bool:
    """Tell whether at least `CODE_PERMILLE` of the visible characters are symbols of code."""
    return len(_SYMBOL.findall(text)) * 1000 >= CODE_PERMILLE * sum(map(len, text.split())) > 0


def prose(text: str) -> str:
    """Return the words of a text without what is code in it; nothing if all of it is code."""
    return "" if is_code(text) else " ".join(_LITERAL.sub(" ", text).split())

"""Hostile text on a page: model output and free names are shown so that they cannot act as Markdown, HTML or a text direction.

The code points are listed here rather than looked up: `unicodedata` differs between Python versions, and a card must come out the
same byte for byte everywhere.
"""

from __future__ import annotations

import re

__all__ = ["code", "fenced", "neutral"]

# C0 and C1 controls; soft hyphen; Bidi_Control (UAX 9); invisible operators, separators, byte-order mark, annotation and tag
# characters; surrogates. U+200C and U+200D stay: Persian and the Indic scripts are spelt with them.
_INVISIBLE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
_BLOCK = re.compile(f"[{_INVISIBLE}]")
_INLINE = re.compile(f"[{_INVISIBLE}\n\t|]")


def neutral(text: str, *, inline: bool = False) -> str:
    """Return the text with every invisible or direction-changing character written as ⟨U+XXXX⟩; `inline` also writes out newlines, tabs and bars."""
    return (_INLINE if inline else _BLOCK).sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def _fence(text: str, least: int) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)


def code(text: object) -> str:
    """Return a Markdown code span that holds any text, also inside a table cell (CommonMark 6.1: a fence longer than any run inside)."""
    shown = neutral(str(text), inline=True)
    if not shown.strip():
        return "(empty)"
    fence = _fence(shown, 1)
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def fenced(text: str) -> str:
    """Return a fenced Markdown block that holds any text (CommonMark 4.5: closed only by a fence at least as long)."""
    shown = neutral(text.replace("\r\n", "\n"))
    fence = _fence(shown, 3)
    return f"{fence}text\n{shown}\n{fence}"

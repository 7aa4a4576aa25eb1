"""Normalise text without hurting a script: Unicode NFC, line ends and outer white space, nothing else.

No NFKC (it turns full-width Chinese punctuation into ASCII and superscripts into digits) and no removal of joiners or
marks (Persian and Hindi need U+200C and U+200D). White space inside a line is kept: it is meaning in code.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["RULE", "UNICODE_MAJOR", "normalise"]

RULE: Final = "nfc_whitespace/v1"

UNICODE_MAJOR: Final = int(unicodedata.unidata_version.split(".")[0])
"""Version of the Unicode tables in use: a character assigned later may normalise differently, so builds record it."""

_LINE_END = re.compile(r"\r\n?")
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)


def normalise(text: str) -> str:
    """Return the text in NFC, with line ends as "\\n", no blanks at line ends and no outer white space; applying it twice changes nothing."""
    return _TRAILING.sub("", _LINE_END.sub("\n", unicodedata.normalize("NFC", text))).strip()

"""What a mail server answered, as it is kept and as it is read: a code, and never its words, which may hold an address."""

from __future__ import annotations

import re
from typing import Final

from portal.i18n import gettext as _

__all__ = ["UNWRITTEN", "answer", "in_words"]

UNWRITTEN: Final = "unwritten"
"""Kept of a letter that could not be made."""
_ENHANCED: Final = re.compile(r"\s*([245]\.[0-9]{1,3}\.[0-9]{1,3})\b")


def answer(code: int, words: str) -> str:
    """Return what is kept of an answer: its code, and the enhanced one (RFC 3463) that begins its words, if one does."""
    found = _ENHANCED.match(words)
    return f"{code} {found[1]}" if found else str(code)


def in_words(kept: str) -> str:
    """Return what an answer means."""
    if kept == UNWRITTEN:
        return _("the letter could not be written")
    about = {
        "1": _("the address does not exist, or is refused"),
        "2": _("the mailbox takes no mail, or is full"),
        "3": _("the mail system there takes no mail now"),
        "4": _("the way there does not work"),
        "5": _("the two servers did not understand each other"),
        "6": _("the form of the letter is refused"),
        "7": _("a rule there refuses it: a permission, encryption, or protection against unwanted mail"),
    }
    parts = kept.partition(" ")[2].split(".")
    if len(parts) == 3 and parts[1] in about:
        return about[parts[1]]
    return _("the server said: later") if kept.startswith("4") else _("the server refuses it")

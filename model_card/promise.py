"""What the cooperative promises a member who withdraws, in the words every page shows."""

from __future__ import annotations

from typing import Final

from governance_hooks.sentence import Sentence

__all__ = ["PROMISE"]

PROMISE: Final = Sentence(
    "When a member withdraws consent, we stop using what they gave at once: no training that starts after that reads it, and training that is on stops or "
    "is never released. The next release is trained without it and supersedes this one; the bylaws say after how many withdrawals or how much time it is due. "
    "This release is then marked superseded in the signed log and on the signed download site. Copies that were already downloaded cannot be called back and "
    "may still show its influence. We do not claim that approximate unlearning erases anything."
)
"""Shown word for word by card and download site."""

"""The order of an election's events, which the log, the auditor and the trustees check alike.

`Setup Ballot* EndBallots EncryptedTally PartialDecryption+ Result`. Belenios also knows Shuffle, for questions that are not added up
homomorphically; our elections have none of those, so a Shuffle is refused.
"""

from __future__ import annotations

from governance_hooks.errors import Refused

__all__ = ["require_order"]

_AFTER = {
    "": ("Setup",),
    "Setup": ("Ballot", "EndBallots"),
    "Ballot": ("Ballot", "EndBallots"),
    "EndBallots": ("EncryptedTally",),
    "EncryptedTally": ("PartialDecryption",),
    "PartialDecryption": ("PartialDecryption", "Result"),
    "Result": (),
}
"""Event -> what may follow it."""


def require_order(before: str, kind: str) -> None:
    """Refuse an event that may not follow `before` (empty at the beginning)."""
    allowed = _AFTER[before]
    if kind in allowed:
        return
    if kind == "Ballot":
        raise Refused("a ballot came after the end of the ballots: Belenios would count the late ones alone", value=f"Ballot after {before}")
    raise Refused(
        "an event of this election is out of order",
        value=f"{kind} after {before or 'nothing'}",
        allowed=" or ".join(allowed) or "nothing: the result is the end",
    )

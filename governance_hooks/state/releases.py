"""What stands about a release that is out: who its stewards were, and that it is superseded or withdrawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from governance_hooks.sentence import Sentence

__all__ = ["Mark", "Stewards"]


@dataclass(slots=True)
class Mark:
    """What was said about a release that is out: that it is superseded, or withdrawn."""

    id: str
    """The statement of the stewards, the members' recall, or the vote on the release that supersedes it."""
    release: str
    status: Literal["superseded", "withdrawn"]
    by: str | None
    """The release that takes its place."""
    reason: str | None
    """None where a vote on a later release says it, which gives none."""
    since: str
    until: str | None
    """Instant at which a withdrawal by stewards lapses; None if it stands."""
    by_members: bool
    ratified: bool = False
    lifted: bool = False
    """Ended by an appeal."""

    @property
    def who(self) -> str:
        """Who said it, for people."""
        if self.by_members:
            return Sentence("the members")
        return Sentence("the stewards and the members") if self.ratified else Sentence("the stewards")

    def stands(self, at: str) -> bool:
        """Tell whether it holds at an instant (RFC 3339 UTC)."""
        return not self.lifted and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class Stewards:
    """The stewards in good standing when a release went out, by member with their raw keys, and how many it takes."""

    keys: dict[str, frozenset[bytes]]
    required: int
    named: int
    """How many the bylaws name: with none, the operator signs alone; with some of whom all are gone, nobody can."""

"""Payloads of proposals: drafts, openings, objections and halts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from governance_hooks.bylaws import ProposalKind, Rules
from governance_hooks.fields import Digest, Instant, Strict
from governance_hooks.motions import Motion

__all__ = ["Draft", "Halt", "Objection", "ProposalOpened", "Roll"]


class Roll(Strict):
    """The electoral roll frozen at opening: Merkle root over sorted member ids, and their number."""

    root: Digest
    members: Annotated[int, Field(gt=0)]


class ProposalOpened(Strict):
    """A proposal about exactly one subject digest, under rules copied from the bylaws in force."""

    kind: ProposalKind
    subject: Digest
    rules: Rules
    roll: Roll
    closes: Instant
    uses: Annotated[int, Field(ge=1)]
    """Starts of the run the approval allows (the plan's `max_starts`); 1 for every other kind."""
    motion: Motion | None
    """What is asked for, in full; null where the subject is a file (run, release, payout, access)."""
    draft: Digest | None
    """The draft statement whose last version this is, if it was drafted in the log."""
    supersedes: Annotated[list[Digest], Field(max_length=64)] = Field(default_factory=list)
    """Of a release: those that are out and that it takes the place of once it is out itself, sorted."""
    reasons: Annotated[Digest | None, Field(exclude_if=lambda digest: digest is None)] = None
    """Salted digest of the proposer's reasons, in Markdown, which are kept apart and can be erased; absent where none are given."""


class Draft(Strict):
    """A version of something that may be proposed, by digest, before it is: whoever has both texts can show what changed."""

    kind: ProposalKind
    subject: Digest
    previous: Digest | None
    """The draft statement this is the next version of."""
    reasons: Annotated[Digest | None, Field(exclude_if=lambda digest: digest is None)] = None
    """Salted digest of the reasons as they are in this version; absent where none are given."""


class Objection(Strict):
    """The author objects, in the challenge window, to what was approved."""

    proposal: Digest
    reason: Digest | None


class Halt(Strict):
    """The oversight body stops the use of an approval until an instant, after which the halt lapses unless members ratify it."""

    proposal: Digest
    until: Instant

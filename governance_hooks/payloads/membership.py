"""Payloads about members: the founding and the exit to community, who joins and leaves, their keys, and the time by which delays pass."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from governance_hooks.bylaws import Bylaws, MemberId
from governance_hooks.fields import Digest, KeyLine, Strict
from governance_hooks.motions import OperatorKey

__all__ = ["Admission", "Decline", "Exit", "Founder", "Founding", "Guardians", "Key", "Leave", "RecoveryCancelled", "RecoveryOpened", "Rotation", "Time"]

CoopName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
VerifierKey = Annotated[str, StringConstraints(max_length=256)]


class Founder(Strict):
    """A founding member and their first key."""

    member: MemberId
    key: KeyLine


class Founding(Strict):
    """The first entry of a log: its digest is the cooperative's identity."""

    name: CoopName
    log: VerifierKey
    """Key that signs checkpoints."""
    operator: OperatorKey
    """Key that signs what the operator may state: builds, closings, runs, releases. It can never vote."""
    founders: Annotated[list[Founder], Field(min_length=1)]
    bylaws: Bylaws


class Admission(Strict):
    """A new member, signed by the member's key and by the registrars."""

    member: MemberId
    key: KeyLine


class Decline(Strict):
    """A registrar declines a request to join or for a new key; which one, only who holds the salt can tell."""

    request: Digest
    """SHA-256 of the canonical `{"salt": 64 hexadecimal digits, "statement": DIGEST}`, the statement being the one the registrars do not sign."""
    about: Literal["admission", "recovery"]
    reason: Literal["asked-twice", "key-not-confirmed", "not-eligible", "not-known", "taken-back"]


class Key(Strict):
    """A key added to or revoked from the author's keys."""

    action: Literal["add", "revoke"]
    key: KeyLine


class Rotation(Strict):
    """A new key of the author in place of an old one, signed by the new key and one in force."""

    old: KeyLine
    new: KeyLine


class Guardians(Strict):
    """The members who together may give the author a new key; an empty list ends it."""

    guardians: Annotated[list[MemberId], Field(max_length=32)]


class RecoveryOpened(Strict):
    """A member who lost their keys asks for a new one, signed by it and by registrars or guardians."""

    member: MemberId
    key: KeyLine


class RecoveryCancelled(Strict):
    """The author stops the recovery of their keys."""

    recovery: Digest


class Time(Strict):
    """The operator states the time (`issued`): the log's clock, by which delays pass."""


class Leave(Strict):
    """The author leaves; all their consents end."""


class Exit(Strict):
    """The exit to community: every founder gives up the powers founders have alone, for ever."""

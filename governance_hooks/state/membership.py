"""Members and their keys, requests that wait or were declined, and who sits in the oversight body."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Declined", "Member", "Recovery", "Seats"]


@dataclass(slots=True)
class Member:
    """A member: raw public keys in force, and the log positions at which they joined and left."""

    id: str
    keys: set[bytes]
    joined: int
    left: int | None = None
    suspended_until: str | None = None
    """Instant of the log's clock until which they hold no vote and no office."""
    suspended_by: str | None = None
    """The proposal that suspended them."""
    guardians: frozenset[str] = frozenset()
    """Members who may give them a new key."""


@dataclass(slots=True)
class Recovery:
    """A pending recovery; the delay runs from the first time the operator states after it."""

    id: str
    member: str
    key: bytes
    supporters: tuple[str, ...]
    opened: int
    due: str | None = None
    """Instant of the log's clock at which it takes effect; None until the log's clock was stated after it."""


@dataclass(frozen=True, slots=True)
class Declined:
    """A request that a registrar declined; others may agree to it all the same, and nobody but who holds the salt knows which it is."""

    id: str
    """The statement."""
    about: str
    """admission or recovery."""
    reason: str
    registrar: str
    issued: str
    position: int


@dataclass(frozen=True, slots=True)
class Seats:
    """Who holds the seats of the oversight body, and until when."""

    members: tuple[str, ...]
    until: str

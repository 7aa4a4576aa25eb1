"""Secret polls, and panels by lot."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Panel", "SecretPoll"]


@dataclass(slots=True)
class SecretPoll:
    """A secret poll: what its signers bound it to, the archive events anchored so far, and the result registrars stated."""

    id: str
    subject: str
    election: str
    credentials: str
    options: int
    roll: int
    credential_authority: str
    trustees: tuple[tuple[str, str], ...]
    """(member, digest of their certificate), in the order of their numbers."""
    threshold: int
    minimum_ballots: int
    opened: int
    closes: str
    events: list[tuple[str, str]]
    """(kind, digest) of each archive event; the setup is the first."""
    counts: tuple[int, ...] | None = None
    archive: str | None = None


@dataclass(slots=True)
class Panel:
    """A panel by lot: the pool frozen at opening, where its seed comes from, and who was drawn."""

    id: str
    purpose: str
    subject: str
    seats: int
    pool: frozenset[str]
    pool_root: str
    targets: str
    private_features: str | None
    algorithm: str
    engine: str
    draw_at: str
    opened: int
    seed_size: int | None = None
    """Entries under the checkpoint that seeds the draw; None until the operator states a time at or after `draw_at`."""
    selected: tuple[str, ...] = ()
    checkpoint: str | None = None
    drawn: int | None = None

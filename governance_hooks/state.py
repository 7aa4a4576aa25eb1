"""What the fold knows: members, keys, consents, contributions, proposals and runs, each with its log positions."""

from __future__ import annotations

from dataclasses import dataclass, field

from governance_hooks.bylaws import Rules
from governance_hooks.consent import Consent
from governance_hooks.tally import Tally

__all__ = ["Contribution", "Grant", "Member", "Panel", "Proposal", "Recovery", "Run", "SecretPoll", "Vote"]


@dataclass(slots=True)
class Member:
    """A member: raw public keys in force, and the log positions at which they joined and left."""

    id: str
    keys: set[bytes]
    joined: int
    left: int | None = None
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


@dataclass(slots=True)
class Grant:
    """A consent with the log positions of giving and withdrawing."""

    id: str
    member: str
    consent: Consent
    given: int
    withdrawn: int | None = None

    def stands(self, position: int) -> bool:
        """Tell whether it was given and not yet withdrawn in a log of `position` entries."""
        return self.given < position and (self.withdrawn is None or self.withdrawn >= position)


@dataclass(frozen=True, slots=True)
class Contribution:
    """A committed batch."""

    id: str
    author: str
    records: int
    root: str
    languages: dict[str, int]


@dataclass(frozen=True, slots=True)
class Vote:
    """A counted ballot."""

    choice: str
    sequence: int
    ballot: str
    reason: str | None


@dataclass(slots=True)
class Proposal:
    """A proposal from opening to close."""

    id: str
    kind: str
    subject: str
    rules: Rules
    roll: frozenset[str]
    roll_root: str
    proposer: str
    opened: int
    issued: str
    closes: str
    uses: int
    """Starts of a run (or publications of a release) the approval allows."""
    votes: dict[str, Vote] = field(default_factory=dict)
    closed: int | None = None
    closed_at: str | None = None
    tally: Tally | None = None
    halts: list[tuple[int, str, str]] = field(default_factory=list)
    """(log position, issued, until) of each halt."""
    used: int = 0

    def halted(self, at: str) -> str | None:
        """Return until when the approval is halted at an instant (RFC 3339 UTC), or None."""
        return max((until for _, _, until in self.halts if at < until), default=None)


@dataclass(slots=True)
class Run:
    """A run: its starts, its end and its evaluation."""

    id: str
    plan: str
    proposal: str
    starts: list[int] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    """Instant of each start."""
    ended: int | None = None
    status: str | None = None
    record: str | None = None
    outputs: str | None = None
    report: str | None = None
    results: str | None = None
    evaluation_passed: bool | None = None
    release: str | None = None
    released: int | None = None


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

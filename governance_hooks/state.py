"""What the fold knows: members, keys, consents, contributions, proposals and runs, each with its log positions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from governance_hooks.bylaws import ProposalKind, Rules
from governance_hooks.consent import Consent
from governance_hooks.fields import Strict
from governance_hooks.sentence import Sentence
from governance_hooks.statement import shift
from governance_hooks.tally import Tally, count

__all__ = [
    "Contribution",
    "Declined",
    "Delivery",
    "Draft",
    "Grant",
    "Halt",
    "Income",
    "Mark",
    "Member",
    "Panel",
    "Proposal",
    "Recovery",
    "Review",
    "Run",
    "Seats",
    "SecretPoll",
    "Segment",
    "Site",
    "Stewards",
    "Vote",
]


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


@dataclass(slots=True)
class Grant:
    """A consent with the log positions of giving and withdrawing."""

    id: str
    member: str
    consent: Consent
    given: int
    withdrawn: int | None = None
    used: dict[str, int] = field(default_factory=dict)
    """Run -> log position of the start that counted it; only of a consent whose `occurrences` are limited."""

    def stands(self, position: int) -> bool:
        """Tell whether it was given and not yet withdrawn in a log of `position` entries."""
        return self.given < position and (self.withdrawn is None or self.withdrawn >= position)

    def left(self, run: str | None, position: int) -> bool:
        """Tell whether it may serve a run (None: one that has not started) in a log of `position` entries; restarts are not counted again."""
        others = sum(counted < position and other != run for other, counted in self.used.items())
        return self.consent.occurrences is None or others < self.consent.occurrences


@dataclass(frozen=True, slots=True)
class Contribution:
    """A committed batch."""

    id: str
    author: str
    records: int
    root: str
    languages: dict[str, int]
    position: int


@dataclass(frozen=True, slots=True)
class Review:
    """Committed ratings of one reviewer."""

    id: str
    author: str
    ratings: int
    root: str
    position: int


@dataclass(frozen=True, slots=True)
class Vote:
    """A counted ballot."""

    choice: str
    """for, against or abstain; empty for an answer to a consultation."""
    sequence: int
    ballot: str
    reason: str | None
    options: tuple[int, ...] = ()
    """The answer to a consultation of options."""
    answers: tuple[str, ...] = ()
    """The answer to a consultation of statements: agree, disagree or pass for each."""


@dataclass(slots=True)
class Halt:
    """A halt of an approval; of the oversight body, or of the members."""

    id: str
    """The statement, or the members' proposal, that made it."""
    proposal: str
    since: str
    """Instant from which it stands: that of its statement, or when the members' decision took effect."""
    until: str
    by_members: bool
    ratified: bool = False
    lifted: bool = False
    """Ended by an appeal."""

    @property
    def by(self) -> str:
        """Who halted it, for people."""
        if self.by_members:
            return Sentence("the members")
        return Sentence("the oversight body and the members") if self.ratified else Sentence("the oversight body")

    def stands(self, at: str) -> bool:
        """Tell whether the halt is in force at an instant (RFC 3339 UTC)."""
        return at < self.until and not self.lifted


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


@dataclass(slots=True)
class Proposal:
    """A proposal from opening to close, and what came of it."""

    id: str
    kind: ProposalKind
    subject: str
    rules: Rules
    roll: frozenset[str]
    roll_root: str
    community: frozenset[str] | None
    """Those on the roll who are no founders, of whom one at least must agree; None before the exit to community."""
    proposer: str
    sponsors: tuple[str, ...]
    opened: int
    issued: str
    closes: str
    uses: int
    """Starts of a run (or publications of a release) the approval allows."""
    motion: Strict | None
    draft: str | None
    supersedes: tuple[str, ...] = ()
    """Releases that are superseded once this one is out."""
    reasons: str | None = None
    """Salted digest of the proposer's reasons."""
    votes: dict[str, Vote] = field(default_factory=dict)
    extended: bool = False
    """The quorum was reached late, and the vote prolonged."""
    closed: int | None = None
    closed_at: str | None = None
    tally: Tally | None = None
    winners: tuple[int, ...] | None = None
    """Of a closed consultation; empty where it was one of statements."""
    objections: dict[str, str | None] = field(default_factory=dict)
    """Member who objected in the challenge window -> digest of the reason."""
    enacted: int | None = None
    """Log position at which the motion took effect."""
    lapsed: str | None = None
    """Why the motion never took effect."""
    halts: list[Halt] = field(default_factory=list)
    used: int = 0

    def count(self) -> Tally:
        """Count the ballots under the proposal's own rules; founders alone decide nothing after the exit to community."""
        counted = count((vote.choice for vote in self.votes.values()), len(self.roll), self.rules)
        if counted.approved and self.community is not None and not any(self.votes[one].choice == "for" for one in self.community & self.votes.keys()):
            why = Sentence("only founders voted for it, and since the exit to community founders alone decide nothing")
            return replace(counted, approved=False, why=why)
        return counted

    def due(self) -> str:
        """Return when an approval may be used, or takes effect: the end of the challenge window."""
        assert self.closed_at is not None
        return shift(self.closed_at, self.rules.challenge_s)

    def expires(self) -> str:
        """Return when an approval ends: by the end of the vote, so that a late close does not keep it fresh."""
        return shift(self.closes, self.rules.expiry_s)

    def contested(self) -> bool:
        """Tell whether so many members objected that the approval is undone."""
        return self.rules.objections is not None and len(self.objections) >= self.rules.objections

    def halted(self, at: str, *, begun: bool = False) -> Halt | None:
        """Return the halt of the approval that lasts longest of those in force at an instant (RFC 3339 UTC), or None.

        Args:
            begun: pass over those that began later: for what a site did before, whose word arrives after the halt.
        """
        return max((halt for halt in self.halts if halt.stands(at) and (not begun or halt.since <= at)), key=lambda halt: halt.until, default=None)


@dataclass(frozen=True, slots=True)
class Seats:
    """Who holds the seats of the oversight body, and until when."""

    members: tuple[str, ...]
    until: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A logged version of what may be proposed."""

    id: str
    author: str
    kind: str
    subject: str
    previous: str | None
    reasons: str | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster somebody lends: what the last statement about it says."""

    name: str
    key: bytes | None
    """Raw; None when it is retired."""
    lender: str | None
    device: str | None
    device_hours: int | None
    clock: str
    """Instant of its last statement; before there is one, when it was named."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What one start of a run used of a site."""

    site: str
    job: int
    restart: int
    nodes: int
    devices: int
    seconds: int
    outcome: str
    energy_wh: int | None
    energy_from: str | None


@dataclass(slots=True)
class Run:
    """A run: its starts, its end and its evaluation."""

    id: str
    plan: str
    proposal: str
    starts: list[int] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    """Instant of each start."""
    counted: list[list[int]] = field(default_factory=list)
    """Log positions of the limited consents each start names."""
    sites: list[str | None] = field(default_factory=list)
    """Where each start was; None on a machine of the cooperative."""
    segments: dict[int, Segment] = field(default_factory=dict)
    """What starts at sites used, by number of the start."""
    endings: list[tuple[int, str]] = field(default_factory=list)
    """Log position and status of each end, oldest first."""
    ended: int | None = None
    status: str | None = None
    record: str | None = None
    outputs: str | None = None
    report: str | None = None
    results: str | None = None
    evaluation_passed: bool | None = None
    waivable: bool = True
    """Whether the voted policy lets members release it although the evaluation did not pass."""
    leak: str | None = None
    """Digest of the record of its leak test; None if the plan asked for none."""
    leak_differential: str | None = None
    leak_passed: bool | None = None
    waiver: str | None = None
    """The members' decision to release it although the evaluation or the leak test did not pass."""
    waived: int | None = None
    """Log position at which that decision took effect."""
    releases: dict[str, int] = field(default_factory=dict)
    """Digest of each release, oldest first -> log position at which it went out: by that it is judged, whatever goes out after it."""

    def used_seconds(self) -> tuple[int, int]:
        """Return the wall time and the device time of its segments, seconds."""
        return sum(one.seconds for one in self.segments.values()), sum(one.seconds * one.devices for one in self.segments.values())

    @property
    def passed(self) -> bool:
        """Whether the evaluation is there and nothing of it failed, the leak test included."""
        return bool(self.evaluation_passed) and self.leak_passed is not False

    def waived_before_release(self) -> str | None:
        """Return the vote that waived the run's evaluation before its first release, if there is one; a later one changes nothing."""
        first = next(iter(self.releases.values()), None)
        return self.waiver if self.waivable and self.waived is not None and (first is None or self.waived < first) else None


@dataclass(slots=True)
class Income:
    """Money taken in, and the payout that shared it out."""

    id: str
    amount: int
    """Minor units."""
    currency: str
    source: str
    paper: str
    proposal: str | None
    position: int
    paid: str | None = None
    """Digest of the payout."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Data, or an answer, handed to an outsider."""

    id: str
    request: str
    proposal: str
    delivery: str
    kind: str
    records: int
    income: str | None
    issued: str
    position: int


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

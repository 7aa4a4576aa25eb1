"""Proposals from draft to close: their votes, their halts, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from governance_hooks.bylaws import ProposalKind, Rules
from governance_hooks.fields import Strict
from governance_hooks.sentence import Sentence
from governance_hooks.statement import shift
from governance_hooks.tally import Tally, count

__all__ = ["Draft", "Halt", "Proposal", "Vote"]


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

"""What pages read: the register and an index of the log, folded in entry by entry as the log grows, never from the start again."""

from __future__ import annotations

import threading
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import NamedTuple

from governance_hooks.cooperative import Cooperative, Paths
from governance_hooks.log import Log
from governance_hooks.payloads.ballots import Ballot, Close, ConsultationClose, Preference
from governance_hooks.payloads.consents import Contribution
from governance_hooks.payloads.membership import Decline
from governance_hooks.payloads.proposals import ProposalOpened
from governance_hooks.register import Register
from governance_hooks.state.proposals import Proposal
from governance_hooks.statement import OPERATOR, Statement, parse
from governance_hooks.tally import Tally, tally
from portal.positions import Positions

__all__ = ["View"]

VOUCHED = 2048
"""Statements of the writer whose signatures need no second look, at most: more than it takes in at a time."""
_OF_ONE = frozenset({"coop.ballot/v1", "coop.preference/v1", "coop.consent/v1", "coop.withdrawal/v1", "coop.contribution/v1", "coop.review/v1"})
"""What comes by most, and changes nothing about who is a member."""


class Named(NamedTuple):
    """Where reasons were first named."""

    author: str
    proposed: bool
    """Whether they are those of a proposal or of a draft, which are handed out with their salt."""


class View(Cooperative):
    """A reader's cooperative. Hold `reading()` while you touch its register: the next entry is folded in by whoever reads next."""

    def __init__(self, paths: Paths, log: Log, pin: str, read_only: bool) -> None:
        super().__init__(paths, log, pin, read_only)
        self._lock = threading.RLock()
        self._known_lock = threading.Lock()  # of its own: who hands in a statement does not wait for a page
        self._known: dict[bytes, Statement] = {}
        """Entry -> its statement, whose signatures the writer checked."""
        self._twin: Register | None = Register()
        """The writer's register while the log is first read: folded from the same statements, so that their signatures are checked and their texts are kept once."""
        self.positions = Positions()
        """Where statements stand."""
        self.made: dict[str, array[int]] = defaultdict(lambda: array("Q"))
        """Author -> positions of their statements, oldest first."""
        self.signed: dict[bytes, int] = {}
        """Raw key -> position of the last statement it signed."""
        self.texts = 0
        """Texts given, all together."""
        self.recovered: list[tuple[str, str, str]] = []
        """Recoveries that took effect: member, statement, and the instant of the log's clock, oldest first."""
        self.reasons: dict[str, Named] = {}
        """Salted digests of all reasons that a statement names, also of ballots that later ones took the place of -> who named them first. Who names what
        somebody else wrote, which is easily done, may neither erase it nor have its salt handed out."""
        self.declined: Counter[str] = Counter()
        """Requests a registrar declined, by what they are about."""
        self._choices: dict[str, Counter[str]] = defaultdict(Counter)
        """Proposal -> ballots that count, by choice."""
        self._reasons: dict[str, dict[str, None]] = defaultdict(dict)
        """Proposal -> members whose ballot that counts has a reason, the newest last."""
        self._running: dict[str, Proposal] = {}
        """Proposals that are not closed."""
        self._decided: dict[str, Proposal] = {}
        """Approved proposals members may object to, until the time for it is over."""
        self._members: int | None = None

    def twin(self) -> Register:
        """Return a second register, as the log stood when this was opened; once, for whoever writes."""
        twin, self._twin = self._twin, None
        assert twin is not None
        return twin

    def vouch(self, statement: Statement) -> None:
        """Take a statement's signatures for checked, when it comes by in the log byte for byte."""
        with self._known_lock:
            self._known[statement.entry] = statement
            if len(self._known) > VOUCHED:  # refused ones never come by
                del self._known[next(iter(self._known))]

    def _vouched(self, entries: Iterator[bytes], jobs: int) -> Iterator[tuple[bytes, Statement | None]]:
        if self._twin is not None:
            yield from super()._vouched(entries, jobs)
            return
        first = next(entries, None)  # mostly there is none
        if first is None:
            return
        for data in chain([first], entries):
            with self._known_lock:
                statement = self._known.pop(data, None)
            yield data, statement

    def _fold(self, statement: Statement) -> None:
        before, at, payload = None, self.register.size, statement.payload
        if isinstance(payload, Ballot) and payload.proposal in self.register.proposals:
            earlier = self.register.proposals[payload.proposal].votes.get(statement.author)
            before = earlier.choice if earlier else None
        pending = list(self.register.recoveries.values()) if statement.author == OPERATOR and self.register.size else []  # only time puts one in effect
        self.register.admit(statement)
        self.recovered += [(one.member, one.id, statement.issued) for one in pending if one.member not in self.register.recoveries]
        if self._twin is not None:
            self._twin.admit(statement)
        self.positions.add(statement.id, at)
        self.made[statement.author].append(at)
        self.signed.update(dict.fromkeys(statement.signers, at))
        if statement.type not in _OF_ONE:
            self._members = None
        for name in ("reason", "reasons"):  # of whatever kind: the reason of some is a word
            given = vars(payload).get(name)
            if isinstance(given, str) and given.startswith("sha256:"):
                self.reasons.setdefault(given, Named(statement.author, proposed=name == "reasons"))
        if isinstance(payload, Ballot | Preference):
            self._reasons[payload.proposal].pop(statement.author, None)
            if payload.reason is not None:
                self._reasons[payload.proposal][statement.author] = None
        match payload:
            case Ballot():
                choices = self._choices[payload.proposal]
                choices[payload.choice] += 1
                if before is not None:
                    choices[before] -= 1
            case Decline():
                self.declined[payload.about] += 1
            case Contribution():
                self.texts += payload.records
            case ProposalOpened():
                self._running[statement.id] = self.register.proposals[statement.id]
            case Close() | ConsultationClose():
                closed = self._running.pop(payload.proposal, None)
                if closed is not None and closed.rules.objections and closed.tally is not None and closed.tally.approved:
                    self._decided[closed.id] = closed

    @contextmanager
    def reading(self) -> Iterator[Register]:
        """Yield the register as the log stands now."""
        with self._lock:
            self.refresh()
            yield self.register

    def members(self) -> int:
        """Return how many members are in good standing; counted anew only after what may change it."""
        if self._members is None:
            self._members = len(self.register.active())
        return self._members

    def running(self) -> list[Proposal]:
        """Return the proposals that are not closed, oldest first."""
        return list(self._running.values())

    def disputable(self, at: str) -> list[Proposal]:
        """Return the approved proposals to which members may still object at an instant, oldest first."""
        for one in [one for one in self._decided.values() if one.due() <= at]:
            del self._decided[one.id]
        return list(self._decided.values())

    def heard(self, proposal: Proposal, most: int) -> list[str]:
        """Return so many of those who voted, at most: those who gave a reason first, and of each the newest first."""
        with_reason = self._reasons.get(proposal.id, {})
        first = list(islice(reversed(with_reason), most))
        others = (member for member in reversed(proposal.votes) if member not in with_reason)
        return first + list(islice(others, most - len(first)))

    def tally(self, proposal: Proposal) -> Tally:
        """Return the count of a proposal so far, from running sums; what closes it is counted from the ballots themselves."""
        if proposal.tally is not None:
            return proposal.tally
        if proposal.community is not None:
            return proposal.count()
        sums = self._choices[proposal.id]
        return tally(sums["for"], sums["against"], sums["abstain"], len(proposal.roll), proposal.rules)

    def statement(self, identifier: str) -> tuple[int, Statement] | None:
        """Return log position and statement of a digest, or None."""
        at = self.positions.get(identifier)
        return None if at is None else (at, self.entry(at))

    def entry(self, position: int) -> Statement:
        """Return the statement at a log position."""
        return parse(next(self.log.entries(position, position + 1)))

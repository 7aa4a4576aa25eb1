"""What pages read: the register and an index of the log, folded in entry by entry as the log grows, never from the start again."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from governance_hooks.cooperative import Cooperative, Paths
from governance_hooks.log import Log
from governance_hooks.payloads import Ballot
from governance_hooks.register import Register
from governance_hooks.state import Proposal
from governance_hooks.statement import Statement, parse
from governance_hooks.tally import Tally, count

__all__ = ["View"]


class View(Cooperative):
    """A reader's cooperative. Hold `reading()` while you touch its register: the next entry is folded in by whoever reads next."""

    def __init__(self, paths: Paths, log: Log, pin: str, read_only: bool) -> None:
        super().__init__(paths, log, pin, read_only)
        self._lock = threading.RLock()
        self.positions: dict[str, int] = {}
        """Statement -> log position."""
        self.made: dict[str, list[int]] = defaultdict(list)
        """Author -> positions of their statements, oldest first."""
        self._choices: dict[str, Counter[str]] = defaultdict(Counter)
        """Proposal -> ballots that count, by choice."""

    def _fold(self, data: bytes) -> Statement:
        before: str | None = None
        at = self.register.size
        statement = parse(data, source=f"entry {at}")
        if isinstance(statement.payload, Ballot) and statement.payload.proposal in self.register.proposals:
            earlier = self.register.proposals[statement.payload.proposal].votes.get(statement.author)
            before = earlier.choice if earlier else None
        self.register.admit(statement)
        self.positions[statement.id] = at
        self.made[statement.author].append(at)
        if isinstance(statement.payload, Ballot):
            choices = self._choices[statement.payload.proposal]
            choices[statement.payload.choice] += 1
            if before is not None:
                choices[before] -= 1
        return statement

    @contextmanager
    def reading(self) -> Iterator[Register]:
        """Yield the register as the log stands now."""
        with self._lock:
            self.refresh()
            yield self.register

    def tally(self, proposal: Proposal) -> Tally:
        """Return the count of a proposal so far, from running sums; what closes it is counted from the ballots themselves."""
        if proposal.tally is not None:
            return proposal.tally
        if proposal.community is not None:
            return proposal.count()
        sums = self._choices[proposal.id]
        return count((choice for choice in ("for", "against", "abstain") for _ in range(sums[choice])), len(proposal.roll), proposal.rules)

    def statement(self, identifier: str) -> tuple[int, Statement] | None:
        """Return log position and statement of a digest, or None."""
        at = self.positions.get(identifier)
        return None if at is None else (at, self.entry(at))

    def entry(self, position: int) -> Statement:
        """Return the statement at a log position."""
        return parse(next(self.log.entries(position, position + 1)))

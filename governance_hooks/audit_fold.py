"""The pass an audit makes over a log: entries folded, the tree grown, tiles and checkpoints compared beside it.

Entries are read once, in order, and not kept. What is found wrong beside the fold is kept for the step that says so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice

from governance_hooks import merkle
from governance_hooks.checkpoint import Checkpoint, read_body, verify_checkpoint
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.log import Log
from governance_hooks.memory import Memory
from governance_hooks.register import Register
from governance_hooks.report import StepFailed, StepUnknown
from governance_hooks.statement import CLOCK_SKEW_S, Statement, read, shift, timestamp
from governance_hooks.vouching import vouched_checkpoints, vouched_statements, workers
from governance_hooks.witness.policy import Unwitnessed

__all__ = ["Beside", "Checkpoints", "Fold", "Progress", "Remembered", "Scope", "check_dates", "witnesses_of"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Scope:
    """How an audit is done: processes, and entries whose signatures this machine has checked before."""

    jobs: int = 1
    """Processes that check signatures, 0 for one a core in a long log; with any but 1 the calling program must be importable (multiprocessing's spawn)."""
    since: int = 0
    """Skip the signatures before this entry and the checkpoints below this size; the rules are replayed from the first entry."""


class Beside:
    """A check of the growing tree beside the fold: what it finds wrong first is kept, to be said in its own step."""

    def __init__(self, look: Callable[[list[bytes]], None]) -> None:
        self.look = look
        self.failure: CoopError | StepFailed | None = None

    def push(self, made: list[bytes]) -> None:
        """Look at what `Frontier.push` returned for one more entry, unless something was wrong already."""
        if self.failure is None:
            try:
                self.look(made)
            except (CoopError, StepFailed) as failure:
                self.failure = failure

    def finish(self, check: Callable[[], None]) -> None:
        """Raise what was wrong, else make the last check."""
        if self.failure is not None:
            raise self.failure
        check()


class Checkpoints:
    """Every checkpoint ever signed over at least `since` entries: each is the root of its prefix, and none goes back in time."""

    def __init__(self, log: Log, fold: Fold) -> None:
        self.log, self.fold = log, fold
        self.size = self.time = self.count = self.due = 0
        self.notes: Generator[tuple[tuple[int, str], Checkpoint | None]] | None = None
        self.next: tuple[tuple[int, str], Checkpoint | None] | None = None

    def push(self, _: list[bytes]) -> None:
        """Compare the checkpoint over the entries so far, if there is one; raise StepFailed or Refused for one that does not fit."""
        if self.fold.frontier.size < self.due:
            return
        if self.notes is None:  # the first entry names the log's key
            scope = self.fold.scope
            jobs = workers(scope.jobs, self.log.size)
            self.notes = vouched_checkpoints(self.log.checkpoints(scope.since), self.fold.register.log_key, jobs=jobs)
            self.advance()
        if self.next is not None and self.due <= self.fold.size:
            self.compare(*self.next)
            self.advance()

    def advance(self) -> None:
        """Take the next checkpoint."""
        assert self.notes is not None
        self.next = next(self.notes, None)
        self.due = sys.maxsize if self.next is None else self.next[0][0]

    def compare(self, stored: tuple[int, str], vouched: Checkpoint | None) -> None:
        """Compare one checkpoint with the tree as it stands."""
        size, note = stored
        checkpoint = vouched or verify_checkpoint(note, self.fold.register.log_key)
        if checkpoint.size != size or self.fold.size != size or self.fold.frontier.root() != checkpoint.root:
            raise StepFailed(f"checkpoint of {size} entries is not a prefix of this log: it was rewritten", todo="keep both as evidence and ask the operator")
        if checkpoint.time < self.time:
            raise StepFailed(f"the time of checkpoint {size} goes back")
        self.size, self.time, self.count = size, checkpoint.time, self.count + 1

    def finish(self) -> None:
        """Compare what is left; raise StepFailed unless the newest checkpoint covers the newest entry."""
        if self.next is not None:
            self.compare(*self.next)
        if self.size != self.fold.size:
            raise StepFailed("the newest checkpoint does not cover the newest entry", todo="append through coop only")

    def close(self) -> None:
        """End the processes that check signatures."""
        if self.notes is not None:
            self.notes.close()


class Fold:
    """One pass over the entries: the register, and the root at each size asked for and at the end."""

    def __init__(self, pin: str | None, wanted: Iterable[int], scope: Scope, progress: Progress | None) -> None:
        self.pin, self.scope, self.progress = pin, scope, progress
        self.register, self.frontier = Register(), merkle.Frontier()
        self.roots: dict[int, bytes] = dict.fromkeys(wanted, b"")
        self.latest = ""
        """The last date an entry bears."""
        self.complete = False

    @property
    def size(self) -> int:
        """Entries so far."""
        return self.frontier.size

    def run(self, entries: Iterable[bytes], total: int, *beside: Beside) -> None:
        """Fold every entry, and show the growing tree to the checks beside; raise StepFailed with the first entry not signed or not allowed."""
        source, tree, jobs = iter(entries), self.frontier, workers(self.scope.jobs, total)
        # The first entry names the log's key, so it is checked whatever is remembered.
        first = ((data, None) for data in islice(source, 1))
        before = ((data, _unverified(data)) for data in islice(source, max(0, self.scope.since - 1)))
        with closing(vouched_statements(source, jobs=jobs)) as rest:
            for position, (data, statement) in enumerate(chain(first, before, rest)):
                try:
                    if statement is None:
                        statement = self.register.apply(data)
                    else:
                        self.register.admit(statement)
                except Refused as error:
                    raise StepFailed(f"entry {position}: {error.what}", todo="the log was written past the rules: compare it with a copy you trust") from error
                if position == 0 and self.pin is not None and statement.id != self.pin:
                    raise StepFailed("the log is of another cooperative than the one you pinned")
                self.latest = max(self.latest, statement.issued)
                made = tree.push(merkle.leaf_hash(data))
                for check in beside:
                    check.push(made)
                if tree.size in self.roots:
                    self.roots[tree.size] = tree.root()
                if self.progress:
                    self.progress("replay the log", position + 1, total)
        self.complete = True


def _unverified(data: bytes) -> Statement | None:
    """Return the statement of an entry whose signatures were checked before; None if it has not even the form of one."""
    try:
        return read(data)[0]
    except CoopError:
        return None


class Remembered:
    """The step that compares a folded log with what this machine remembers; loaded before the log is read."""

    def __init__(self, memory: Memory | None) -> None:
        self.memory = memory
        self.note = memory.load() if memory else None

    def sizes(self) -> list[int]:
        """Return the size whose root is remembered, if there is one."""
        return [read_body(self.note).size] if self.note else []

    def require(self, since: int) -> None:
        """Raise BadInput unless signatures before entry `since` were checked on this machine."""
        if since and (self.note is None or read_body(self.note).size < since):
            known = 0 if self.note is None else read_body(self.note).size
            raise BadInput("this machine has not checked so many entries of this log", value=since, allowed=f"at most {known}", next="coop audit")

    def signatures(self, fold: Fold) -> str:
        """Say whose signatures hold; raise StepFailed if some were skipped and those entries are not the remembered ones."""
        since = fold.scope.since
        if not since:
            return "signatures and rules hold"
        assert self.memory is not None
        assert self.note is not None
        old = self.memory.known(self.note, fold.register.log_key)
        if fold.roots.get(old.size) != old.root:
            fold.complete = False
            raise StepFailed(f"the first {old.size} entries are not those this machine checked before", todo="coop audit, without --since")
        return f"rules hold; signatures hold from entry {since} on, those before were checked here earlier and their bytes are the same"

    def check(self, fold: Fold, note: str, entries: Callable[[], Iterable[bytes]]) -> str:
        """Compare a complete fold with what is remembered, and remember it; see `Memory.check`."""
        if self.memory is None or not fold.complete:
            raise StepUnknown("needs all entries (step 1)")
        roots = fold.roots | {fold.size: fold.frontier.root()}
        found = self.memory.check(self.note, note, fold.register.log_key, roots.get, entries=entries)
        self.memory.remember(note)
        return found


def check_dates(fold: Fold, time: int) -> None:
    """Refuse entries dated after the newest checkpoint, which covers them: a proof of this log would be refused for it."""
    latest = shift(timestamp(datetime.fromtimestamp(time, UTC)), CLOCK_SKEW_S)
    if fold.latest > latest:
        raise StepFailed(f"an entry is dated {fold.latest}, after the checkpoint that covers it ({latest})", todo="ask the operator whose clock was wrong")


def witnesses_of(fold: Fold, note: str) -> str:
    """Say who cosigned the newest checkpoint.

    Raises:
        StepUnknown: fewer did than the bylaws at its place require. Such a log may hold; whether others see the same one is not known.
        Refused: a cosignature does not verify, or is by somebody who is no witness.
    """
    if not fold.complete:
        raise StepUnknown("needs all entries (step 1)")
    witnessed = fold.register.bylaws.policy.check(verify_checkpoint(note, fold.register.log_key))
    try:
        return witnessed.words
    except Unwitnessed as missing:
        raise StepUnknown(missing.what, todo="the operator: coop log cosign; then audit again") from missing

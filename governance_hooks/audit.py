"""The audit of a whole log: identity, every signature and rule, the tree, and every checkpoint ever signed.

Entries are read once, in order, and not kept: memory is that of the folded state, whatever the length of the log. Tiles and
checkpoints are compared with the tree while it grows; what is found wrong with them is kept for the step that says so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path

from governance_hooks import merkle
from governance_hooks.checkpoint import Checkpoint, read_body, verify_checkpoint
from governance_hooks.cooperative import Paths
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.log import Log
from governance_hooks.memory import Memory
from governance_hooks.register import Register
from governance_hooks.report import Checklist, Report, StepFailed, StepUnknown
from governance_hooks.statement import CLOCK_SKEW_S, Statement, parse, read, shift, timestamp
from governance_hooks.tiles import TileCheck, Tiles, read_export
from governance_hooks.vouching import vouched_checkpoints, vouched_statements, workers

__all__ = ["Scope", "audit", "audit_tiles"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Scope:
    """How an audit is done: processes, and entries whose signatures this machine has checked before."""

    jobs: int = 1
    """Processes that check signatures, 0 for one a core in a long log; with any but 1 the calling program must be importable (multiprocessing's spawn)."""
    since: int = 0
    """Skip the signatures before this entry and the checkpoints below this size; the rules are replayed from the first entry."""


class _Beside:
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


class _Checkpoints:
    """Every checkpoint ever signed over at least `since` entries: each is the root of its prefix, and none goes back in time."""

    def __init__(self, log: Log, fold: _Fold) -> None:
        self.log, self.fold = log, fold
        self.size = self.time = self.count = self.due = 0
        self.notes: Generator[tuple[tuple[int, str], Checkpoint | None]] | None = None
        self.next: tuple[tuple[int, str], Checkpoint | None] | None = None

    def push(self, _: list[bytes]) -> None:
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
        assert self.notes is not None
        self.next = next(self.notes, None)
        self.due = sys.maxsize if self.next is None else self.next[0][0]

    def compare(self, stored: tuple[int, str], vouched: Checkpoint | None) -> None:
        size, note = stored
        checkpoint = vouched or verify_checkpoint(note, self.fold.register.log_key)
        if checkpoint.size != size or self.fold.size != size or self.fold.frontier.root() != checkpoint.root:
            raise StepFailed(f"checkpoint of {size} entries is not a prefix of this log: it was rewritten", todo="keep both as evidence and ask the operator")
        if checkpoint.time < self.time:
            raise StepFailed(f"the time of checkpoint {size} goes back")
        self.size, self.time, self.count = size, checkpoint.time, self.count + 1

    def finish(self) -> None:
        if self.next is not None:
            self.compare(*self.next)
        if self.size != self.fold.size:
            raise StepFailed("the newest checkpoint does not cover the newest entry", todo="append through coop only")

    def close(self) -> None:
        if self.notes is not None:
            self.notes.close()


class _Fold:
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
        return self.frontier.size

    def run(self, entries: Iterable[bytes], total: int, *beside: _Beside) -> None:
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


class _Remembered:
    """The step that compares a folded log with what this machine remembers; loaded before the log is read."""

    def __init__(self, memory: Memory | None) -> None:
        self.memory = memory
        self.note = memory.load() if memory else None

    def sizes(self) -> list[int]:
        return [read_body(self.note).size] if self.note else []

    def require(self, since: int) -> None:
        """Raise BadInput unless signatures before entry `since` were checked on this machine."""
        if since and (self.note is None or read_body(self.note).size < since):
            known = 0 if self.note is None else read_body(self.note).size
            raise BadInput("this machine has not checked so many entries of this log", value=since, allowed=f"at most {known}", next="coop audit")

    def signatures(self, fold: _Fold) -> str:
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

    def check(self, fold: _Fold, note: str, entries: Callable[[], Iterable[bytes]]) -> str:
        if self.memory is None or not fold.complete:
            raise StepUnknown("needs all entries (step 1)")
        roots = fold.roots | {fold.size: fold.frontier.root()}
        found = self.memory.check(self.note, note, fold.register.log_key, roots.get, entries=entries)
        self.memory.remember(note)
        return found


def _check_dates(fold: _Fold, time: int) -> None:
    """Refuse entries dated after the newest checkpoint, which covers them: a proof of this log would be refused for it."""
    latest = shift(timestamp(datetime.fromtimestamp(time, UTC)), CLOCK_SKEW_S)
    if fold.latest > latest:
        raise StepFailed(f"an entry is dated {fold.latest}, after the checkpoint that covers it ({latest})", todo="ask the operator whose clock was wrong")


def _witnesses(fold: _Fold, note: str) -> str:
    """Say who cosigned the newest checkpoint; raise Refused if fewer did than the bylaws at its place require."""
    if not fold.complete:
        raise StepUnknown("needs all entries (step 1)")
    return fold.register.bylaws.policy.check(verify_checkpoint(note, fold.register.log_key)).words


class _Audit:
    def __init__(self, root: Path, log: Log, remembered: _Remembered, scope: Scope, progress: Progress | None) -> None:
        self.paths, self.log, self.memory, self.progress = Paths(root), log, remembered, progress
        self.scope = scope
        self._start(None)

    def _start(self, pin: str | None) -> None:
        self.fold = _Fold(pin, self.memory.sizes(), self.scope, self.progress)
        self.tiles, self.notes = TileCheck(self.log.tile), _Checkpoints(self.log, self.fold)
        self.beside_tiles, self.beside_notes = _Beside(self.tiles.push), _Beside(self.notes.push)

    # (1) Every entry is signed by whoever had the right and allowed at its place; the first is the pinned cooperative.
    def entries(self) -> str:
        self._start(self.paths.pin())
        with closing(self.notes):
            self.fold.run(self.log.entries(), self.log.size, self.beside_tiles, self.beside_notes)
        if not self.fold.size:
            raise StepUnknown("the log is empty", todo="coop init")
        return f"{self.fold.size} entries: {self.memory.signatures(self.fold)}"

    # (2) Every stored tile is the one over the entries.
    def tree(self) -> str:
        if not self.fold.complete or self.fold.size != self.log.size:
            raise StepUnknown("needs all entries (step 1)")
        root, todo = self.fold.frontier.root(), "rebuild it from the entries, and find out who changed it"
        try:
            self.beside_tiles.finish(self.tiles.finish)
        except CoopError as error:
            raise StepFailed(f"the stored tree does not match the entries: {error.what}", todo=todo) from error
        if root != self.log.root():
            raise StepFailed("the stored tree does not match the entries", todo=todo)
        return f"root {root.hex()[:12]} over {self.fold.size} entries, every tile looked at"

    # (3) Every checkpoint ever signed is a prefix of this log, and the newest covers all of it.
    def checkpoints(self) -> str:
        if not self.fold.complete:
            raise StepUnknown("needs all entries (step 1)")
        self.beside_notes.finish(self.notes.finish)
        _check_dates(self.fold, self.notes.time)
        since = self.fold.scope.since
        return f"{self.notes.count} checkpoints signed, each a prefix of the next" + (f"; those below {since} entries not looked at again" if since else "")

    # (4) As many witnesses as the bylaws require have cosigned the newest checkpoint.
    def witnesses(self) -> str:
        return _witnesses(self.fold, self.note())

    def note(self) -> str:
        """Return the newest checkpoint with the cosignatures of the witnesses the bylaws name."""
        note = self.log.checkpoint()
        return self.fold.register.bylaws.policy.attach(note, self.log.cosignatures(read_body(note).size)) if self.fold.complete else note


def audit(root: Path, *, memory: Memory | None = None, scope: Scope | None = None, progress: Progress | None = None) -> Report:
    """Replay a cooperative's log from its bytes and return the table; changes nothing but what `memory` remembers.

    Args:
        root: the cooperative's folder.
        memory: what this machine remembers of the cooperative; the log must extend it. Not looked at, if None.
        scope: how many processes, and whether signatures checked here earlier are left out.
        progress: called with (label, done, total).

    Raises:
        BadInput: `scope.since` goes beyond what this machine has checked.
    """
    scope, remembered = scope or Scope(), _Remembered(memory)
    remembered.require(scope.since)
    with Log.open(Paths(root).log, read_only=True) as log:
        work, checklist = _Audit(root, log, remembered, scope, progress), Checklist(f"Audit of the log in {root}")
        checklist.run("entries signed and allowed", work.entries)
        checklist.run("tree matches entries", work.tree)
        checklist.run("checkpoints are prefixes", work.checkpoints)
        checklist.run("witnesses", work.witnesses)
        if memory:
            checklist.run("extends what was seen", lambda: remembered.check(work.fold, work.note(), log.entries))
        return checklist.report()


class _TilesAudit:
    def __init__(self, tiles: Tiles, pin: str | None, remembered: _Remembered, scope: Scope, progress: Progress | None) -> None:
        self.tiles, self.pin, self.memory = tiles, pin, remembered
        self.fold, self.check = _Fold(pin, remembered.sizes(), scope, progress), TileCheck(tiles.tile)
        self.beside = _Beside(self.check.push)

    # (1) Every entry is signed by whoever had the right and allowed at its place; the first is the pinned cooperative.
    def entries(self) -> str:
        self.fold.run(self.tiles.entries(), self.tiles.size, self.beside)
        if not self.fold.size:
            raise StepUnknown("the export is empty")
        which = "the pinned cooperative" if self.pin else f"cooperative {self.fold.register.coop}: compare it with the pin you know"
        return f"{self.fold.size} entries of {which}: {self.memory.signatures(self.fold)}"

    # (2) Every tile is over the entries below it.
    def hashes(self) -> str:
        if not self.fold.complete:
            root = self.tiles.verify_tiles()
        else:
            self.beside.finish(self.check.finish)
            root = self.fold.frontier.root()
        return f"root {root.hex()[:12]}: every tile matches the entries below it"

    # (3) The log's key signed this tree.
    def checkpoint(self) -> str:
        if not self.fold.complete:
            raise StepUnknown("needs all entries (step 1)")
        checkpoint = verify_checkpoint(self.tiles.note, self.fold.register.log_key)
        if checkpoint.root != self.fold.frontier.root():
            raise StepFailed("the entries do not hash to the checkpoint's root: one was changed, left out or put in")
        _check_dates(self.fold, checkpoint.time)
        return f"checkpoint of {checkpoint.size} entries signed by the log's key"


def _memory_of(tiles: Tiles) -> Memory | None:
    """Return the memory of the cooperative an export says it is of; None where step 1 will fail anyway."""
    try:
        return Memory(parse(next(tiles.entries(), b""), source="entry 0").id)
    except CoopError:
        return None


def audit_tiles(folder: Path, pin: str | None, *, remember: bool = False, scope: Scope | None = None, progress: Progress | None = None) -> Report:
    """Replay an exported log (C2SP tlog-tiles files) and return the table.

    Args:
        folder: what `coop log export` wrote, or a copy of what a web host serves.
        pin: digest of the founding statement you expect; None takes the one in the export, and the table says so.
        remember: whether the log must extend what this machine remembers of the cooperative, and is remembered then.
        scope: how many processes, and whether signatures checked here earlier are left out (needs `remember`).
        progress: called with (label, done, total).

    Raises:
        BadInput: the folder holds no exported log, or `scope.since` goes beyond what this machine has checked.
    """
    tiles, scope = read_export(folder), scope or Scope()
    remembered = _Remembered(_memory_of(tiles) if remember else None)
    remembered.require(scope.since)
    work, checklist = _TilesAudit(tiles, pin, remembered, scope, progress), Checklist(f"Audit of the exported log in {folder}")
    checklist.run("entries signed and allowed", work.entries)
    checklist.run("tiles match entries", work.hashes)
    checklist.run("checkpoint signed", work.checkpoint)
    checklist.run("witnesses", lambda: _witnesses(work.fold, tiles.note))
    if remember:
        checklist.run("extends what was seen", lambda: remembered.check(work.fold, tiles.note, tiles.entries))
    return checklist.report()

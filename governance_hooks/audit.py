"""The audit of a whole log: identity, every signature and rule, the tree, and every checkpoint ever signed.

Entries are read once, in order, and not kept: memory is that of the folded state, whatever the length of the log. Tiles and
checkpoints are compared with the tree while it grows; what is found wrong with them is kept for the step that says so.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from governance_hooks.audit_fold import Beside, Checkpoints, Fold, Progress, Remembered, Scope, check_dates, witnesses_of
from governance_hooks.checkpoint import read_body, verify_checkpoint
from governance_hooks.cooperative import Paths
from governance_hooks.errors import CoopError
from governance_hooks.log import Log
from governance_hooks.memory import Memory
from governance_hooks.report import Checklist, Report, StepFailed, StepUnknown
from governance_hooks.statement import parse
from governance_hooks.tiles import TileCheck, Tiles, read_export

__all__ = ["Scope", "audit", "audit_tiles"]


class _Audit:
    def __init__(self, root: Path, log: Log, remembered: Remembered, scope: Scope, progress: Progress | None) -> None:
        self.paths, self.log, self.memory, self.progress = Paths(root), log, remembered, progress
        self.scope = scope
        self._start(None)

    def _start(self, pin: str | None) -> None:
        self.fold = Fold(pin, self.memory.sizes(), self.scope, self.progress)
        self.tiles, self.notes = TileCheck(self.log.tile), Checkpoints(self.log, self.fold)
        self.beside_tiles, self.beside_notes = Beside(self.tiles.push), Beside(self.notes.push)

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
        check_dates(self.fold, self.notes.time)
        since = self.fold.scope.since
        return f"{self.notes.count} checkpoints signed, each a prefix of the next" + (f"; those below {since} entries not looked at again" if since else "")

    # (4) As many witnesses as the bylaws require have cosigned the newest checkpoint.
    def witnesses(self) -> str:
        return witnesses_of(self.fold, self.note())

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
    scope, remembered = scope or Scope(), Remembered(memory)
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
    def __init__(self, tiles: Tiles, pin: str | None, remembered: Remembered, scope: Scope, progress: Progress | None) -> None:
        self.tiles, self.pin, self.memory = tiles, pin, remembered
        self.fold, self.check = Fold(pin, remembered.sizes(), scope, progress), TileCheck(tiles.tile)
        self.beside = Beside(self.check.push)

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
        check_dates(self.fold, checkpoint.time)
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
    remembered = Remembered(_memory_of(tiles) if remember else None)
    remembered.require(scope.since)
    work, checklist = _TilesAudit(tiles, pin, remembered, scope, progress), Checklist(f"Audit of the exported log in {folder}")
    checklist.run("entries signed and allowed", work.entries)
    checklist.run("tiles match entries", work.hashes)
    checklist.run("checkpoint signed", work.checkpoint)
    checklist.run("witnesses", lambda: witnesses_of(work.fold, tiles.note))
    if remember:
        checklist.run("extends what was seen", lambda: remembered.check(work.fold, tiles.note, tiles.entries))
    return checklist.report()

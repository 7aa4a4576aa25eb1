"""The audit of a whole log: identity, every signature and rule, the tree, and every checkpoint ever signed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from governance_hooks import merkle
from governance_hooks.canonical import loads
from governance_hooks.checkpoint import verify_checkpoint
from governance_hooks.cooperative import Paths
from governance_hooks.errors import Refused
from governance_hooks.log import Log
from governance_hooks.register import Register
from governance_hooks.report import Checklist, Report, StepFailed, StepUnknown

__all__ = ["audit"]


class _Frontier:
    """The perfect subtrees of a growing tree (a compact range): the root of every prefix in one pass."""

    def __init__(self) -> None:
        self.nodes: list[tuple[int, bytes]] = []

    def push(self, leaf: bytes) -> None:
        height, node = 0, leaf
        while self.nodes and self.nodes[-1][0] == height:
            node, height = merkle.node_hash(self.nodes.pop()[1], node), height + 1
        self.nodes.append((height, node))

    def root(self) -> bytes:
        node = self.nodes[-1][1]
        for _, left in reversed(self.nodes[:-1]):
            node = merkle.node_hash(left, node)
        return node


class _Audit:
    def __init__(self, root: Path, log: Log, progress: Callable[[str, int, int], None] | None) -> None:
        self.paths, self.log, self.progress = Paths(root), log, progress
        self.register = Register()
        self.roots: list[bytes] = []

    # (1) Every entry is signed by whoever had the right and allowed at its place; the first is the pinned cooperative.
    def entries(self) -> str:
        pin = loads(self.paths.identity.read_bytes(), source=str(self.paths.identity))["coop"]
        frontier, total = _Frontier(), self.log.size
        for position, data in enumerate(self.log.entries()):
            try:
                statement = self.register.apply(data)
            except Refused as error:
                raise StepFailed(f"entry {position}: {error.what}", todo="the log was written past the rules: compare it with a copy you trust") from error
            if position == 0 and statement.id != pin:
                raise StepFailed("the log is of another cooperative than this folder's pin")
            frontier.push(merkle.leaf_hash(data))
            self.roots.append(frontier.root())
            if self.progress:
                self.progress("replay the log", position + 1, total)
        if not self.roots:
            raise StepUnknown("the log is empty", todo="coop init")
        return f"{len(self.roots)} entries: signatures and rules hold"

    # (2) The stored tree is the tree over the entries.
    def tree(self) -> str:
        if len(self.roots) != self.log.size or not self.roots:
            raise StepUnknown("needs all entries (step 1)")
        if self.log.root() != self.roots[-1]:
            raise StepFailed("the stored tree does not match the entries", todo="rebuild it from the entries, and find out who changed it")
        return f"root {self.roots[-1].hex()[:12]} over {len(self.roots)} entries"

    # (3) Every checkpoint ever signed is a prefix of this log, and the newest covers all of it.
    def checkpoints(self) -> str:
        size, time = 0, 0
        count = 0
        for size, note in self.log.checkpoints():
            checkpoint = verify_checkpoint(note, self.register.log_key)
            if checkpoint.size != size or not 0 < size <= len(self.roots) or self.roots[size - 1] != checkpoint.root:
                raise StepFailed(
                    f"checkpoint of {size} entries is not a prefix of this log: it was rewritten", todo="keep both as evidence and ask the operator"
                )
            if checkpoint.time < time:
                raise StepFailed(f"the time of checkpoint {size} goes back")
            time, count = checkpoint.time, count + 1
        if size != len(self.roots):
            raise StepFailed("the newest checkpoint does not cover the newest entry", todo="append through coop only")
        return f"{count} checkpoints signed, each a prefix of the next"


def audit(root: Path, *, progress: Callable[[str, int, int], None] | None = None) -> Report:
    """Replay a cooperative's log from its bytes and return the table; changes nothing."""
    with Log.open(Paths(root).log, read_only=True) as log:
        work, checklist = _Audit(root, log, progress), Checklist(f"Audit of the log in {root}")
        checklist.run("entries signed and allowed", work.entries)
        checklist.run("tree matches entries", work.tree)
        checklist.run("checkpoints are prefixes", work.checkpoints)
        return checklist.report()

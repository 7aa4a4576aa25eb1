"""A cooperative's folder on disk: its log, its register, and the one writer that appends to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from governance_hooks.atomic import write_bytes
from governance_hooks.bylaws import DRAFT_S
from governance_hooks.canonical import dumps, loads
from governance_hooks.checkpoint import NoteKey, read_body, sign_checkpoint, verify_checkpoint
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.log import Log
from governance_hooks.payloads import Ballot, Draft, Halt, Objection, Preference, ProposalOpened
from governance_hooks.proof import Proof
from governance_hooks.register import Register
from governance_hooks.sshsig import Signer, load_private_key
from governance_hooks.statement import CLOCK_SKEW_S, OPERATOR, Statement, body, entry, now, parse, shift, sign

__all__ = ["Cooperative", "Paths"]

_RETRIES = 20
_TIMED = Ballot | Draft | Halt | Objection | Preference | ProposalOpened
"""What may not be dated back."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the parts of a cooperative's folder lie."""

    root: Path

    @property
    def identity(self) -> Path:
        """The pin: which cooperative this folder belongs to."""
        return self.root / "cooperative.json"

    def pin(self) -> str:
        """Return the digest of the founding statement this folder is pinned to; raise BadInput if it is none."""
        if not self.identity.is_file():
            raise BadInput(f"{self.root} is no cooperative's folder", next="coop init DIR, or give the folder with -C DIR")
        return str(loads(self.identity.read_bytes(), source=str(self.identity))["coop"])

    @property
    def log(self) -> Path:
        """The log database."""
        return self.root / "log.sqlite"

    @property
    def log_key(self) -> Path:
        """The key that signs checkpoints (operator's machine only)."""
        return self.root / "keys" / "log.key"

    @property
    def operator_key(self) -> Path:
        """The operator's statement key (operator's machine only)."""
        return self.root / "keys" / "operator"


class Cooperative:
    """An open cooperative; the register in it is replayed from the log, never read from a cache."""

    def __init__(self, paths: Paths, log: Log, pin: str, read_only: bool) -> None:
        self.paths, self.log, self.pin, self.read_only = paths, log, pin, read_only
        self.register = Register()
        self.clock: Callable[[], str] = now
        """The writer's time, RFC 3339 UTC."""
        self._entries: list[bytes] = []

    @classmethod
    @contextmanager
    def open(cls, root: Path, *, read_only: bool = False) -> Iterator[Cooperative]:
        """Open a cooperative's folder and replay its log; raise CoopError if there is none, or it does not hold."""
        paths = Paths(root)
        pin = paths.pin()
        with Log.open(paths.log, read_only=read_only) as log:
            cooperative = cls(paths, log, pin, read_only)
            cooperative.refresh()
            yield cooperative

    @classmethod
    def found(cls, root: Path, entry_bytes: bytes, log_key: NoteKey) -> str:
        """Write the first entry of a new cooperative and pin its identity; return the digest of the founding statement."""
        paths = Paths(root)
        register = Register()
        founding = register.apply(entry_bytes)
        if register.log_key != log_key.verifier:
            raise BadInput("the founding statement names another log key", value=register.log_key.text)
        with Log.open(paths.log) as log:
            if log.size == 0:
                log.append([entry_bytes], expected_size=0, note=partial(_checkpoint, log_key, _unix(now())))
        # The pin comes last: a folder without it is not yet a cooperative, and `coop init` starts over.
        write_bytes(paths.identity, dumps({"format": "coop.folder/v1", "coop": founding.id, "name": register.name}))
        return founding.id

    def refresh(self) -> None:
        """Fold in what other writers appended since."""
        for data in self.log.entries(self.register.size):
            statement = self.register.apply(data)
            if self.register.size == 1 and statement.id != self.pin:
                raise Refused("the log is of another cooperative than this folder's pin", value=statement.id, allowed=self.pin)
            self._entries.append(data)

    def append(self, data: bytes) -> Statement:
        """Check an entry by the rules, then append it durably under a new checkpoint.

        Raises:
            Refused: the rules do not allow it; nothing was appended.
            CoopError: the log could not be written; nothing was appended.
        """
        return self.append_all([data])[0]

    def append_all(self, batch: Sequence[bytes]) -> list[Statement]:
        """Check entries by the rules, each after the ones before it, then append all of them durably under one checkpoint.

        Raises:
            Refused: the rules do not allow one of them; nothing was appended.
            CoopError: the log could not be written, or does not hash to its newest checkpoint; nothing was appended.
        """
        if not batch:
            return []
        key = NoteKey.load(self.paths.log_key)
        if key.verifier != self.register.log_key:
            raise BadInput(
                "this is not the key of this log; a checkpoint it signed could never be verified", value=key.verifier.text, allowed=self.register.log_key.text
            )
        for _ in range(_RETRIES):
            self.refresh()
            size = self.register.size
            statements = self._admit(batch)
            last = verify_checkpoint(self.log.checkpoint(), self.register.log_key)
            moment = max(_unix(self.clock()), last.time)
            try:
                self.log.append(list(batch), expected_size=size, note=partial(_checkpoint, key, moment), expected_root=last.root)
            except CoopError:
                self._start_over()  # the rules said yes, the disk said no
                if self.register.size <= size:  # nobody was faster: the disk is full, or the log was rolled back under us
                    raise
                continue
            self._entries.extend(batch)
            return statements
        raise CoopError("the log is too busy", next="run the command again")

    def _admit(self, batch: Sequence[bytes]) -> list[Statement]:
        """Fold a batch into the register, all of it or nothing."""
        statements: list[Statement] = []
        for number, data in enumerate(batch, start=1):
            try:
                statement = parse(data)
                self._require_timely(statement)
                self.register.admit(statement)
                statements.append(statement)
            except CoopError as error:
                if statements:
                    self._start_over()
                    raise Refused(
                        f"entry {number} of the {len(batch)} to append: {error.what}", value=error.value, allowed=error.allowed, next=error.next
                    ) from error
                raise
        return statements

    def _require_timely(self, statement: Statement) -> None:
        """Refuse what the writer's own clock shows to be misdated: only the writer sees when a statement really came in."""
        moment = self.clock()
        if statement.issued > shift(moment, CLOCK_SKEW_S):
            raise Refused("this statement is dated in the future", value=statement.issued, allowed=f"until {moment}", next="set the clock, and sign again")
        if isinstance(statement.payload, Ballot | Preference):
            proposal = self.register.proposal(statement.payload.proposal)
            if moment > shift(proposal.closes, CLOCK_SKEW_S):
                raise Refused("this vote is over", value=moment, allowed=f"until {proposal.closes}")
        if isinstance(statement.payload, Objection):
            proposal = self.register.proposal(statement.payload.proposal)
            if proposal.closed_at is not None and moment >= proposal.due():
                raise Refused("the challenge window is over", value=moment, allowed=f"before {proposal.due()}")
        if isinstance(statement.payload, _TIMED) and statement.issued < shift(moment, -DRAFT_S):
            raise Refused("this statement was drafted too long ago", value=statement.issued, allowed=f"within {DRAFT_S} s", next="draft and sign it again")

    def _start_over(self) -> None:
        """Fold the log again from its first entry."""
        self.register, self._entries = Register(), []
        self.refresh()

    def state(
        self, kind: str, payload: BaseModel | dict[str, Any], *, key: Signer, author: str, extra: tuple[Signer, ...] = (), issued: str | None = None
    ) -> Statement:
        """Make a statement, sign it with `key` (and `extra` keys) and append it."""
        made = body(kind, payload, coop=self.register.coop, author=author, issued=issued or self.clock())
        return self.append(entry(made, [sign(made, signer) for signer in (key, *extra)]))

    def operate(self, kind: str, payload: BaseModel | dict[str, Any]) -> Statement:
        """Make a statement of the operator and append it; where a decision of the members is due, state the time first."""
        key, issued = load_private_key(self.paths.operator_key), self.clock()
        self.refresh()
        if kind != "coop.time/v1" and self.register.due(issued):
            self.state("coop.time/v1", {}, key=key, author=OPERATOR, issued=issued)
        return self.state(kind, payload, key=key, author=OPERATOR, issued=issued)

    def proof(self) -> Proof:
        """Return the portable proof of everything up to now."""
        note = self.log.checkpoint()  # read first: the entries under it are there then, whoever appends meanwhile
        self.refresh()
        return Proof(note, tuple(self._entries[: read_body(note).size]))

    def find(self, prefix: str) -> Statement:
        """Return the statement whose digest starts with `prefix`."""
        hits = [
            statement for statement in map(parse, self._entries) if statement.id.startswith(prefix) or statement.id.removeprefix("sha256:").startswith(prefix)
        ]
        if len(hits) != 1:
            raise BadInput(("no statement" if not hits else "more than one statement") + " with this digest", value=prefix, next="coop log")
        return hits[0]


def _checkpoint(key: NoteKey, moment: int, size: int, root: bytes) -> str:
    return sign_checkpoint(key, size, root, moment)


def _unix(instant: str) -> int:
    return int(datetime.fromisoformat(instant).timestamp())

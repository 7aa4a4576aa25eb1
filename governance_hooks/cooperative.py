"""A cooperative's folder on disk: its log, its register, and the one writer that appends to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel
from sqlalchemy.engine import URL

from governance_hooks.atomic import write_bytes
from governance_hooks.bylaws import DRAFT_S
from governance_hooks.canonical import dumps
from governance_hooks.checkpoint import NoteKey, read_body, sign_checkpoint, verify_checkpoint
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.log import Log
from governance_hooks.paths import Paths
from governance_hooks.payloads.ballots import Ballot, Opinions, Preference
from governance_hooks.payloads.membership import Decline
from governance_hooks.payloads.proposals import Draft, Halt, Objection, ProposalOpened
from governance_hooks.payloads.releases import ReleaseStatus
from governance_hooks.proof import Proof
from governance_hooks.register import Register
from governance_hooks.sshsig import Signer, load_private_key
from governance_hooks.statement import CLOCK_SKEW_S, OPERATOR, Statement, body, entry, now, parse, shift, sign
from governance_hooks.vouching import vouched_statements, workers

__all__ = ["Cooperative", "Paths"]

TELL = 1024
"""Entries between two reports of a long fold."""

_TIMED = Ballot | Decline | Draft | Halt | Objection | Opinions | Preference | ProposalOpened | ReleaseStatus
"""What may not be dated back."""


class Cooperative:
    """An open cooperative; the register in it is replayed from the log, never read from a cache."""

    def __init__(self, paths: Paths, log: Log, pin: str, read_only: bool) -> None:
        self.paths, self.log, self.pin, self.read_only = paths, log, pin, read_only
        self.register = Register()
        self.clock: Callable[[], str] = now
        """The writer's time, RFC 3339 UTC."""
        self._folded = 0
        """Entries of the log in the register; fewer than it holds after an append that failed."""
        self._signed = ""
        """The checkpoint this writer signed last."""

    @classmethod
    @contextmanager
    def open(
        cls, root: Path, *, read_only: bool = False, folded: Register | None = None, jobs: int = 1, progress: Callable[[str, int, int], None] | None = None
    ) -> Iterator[Self]:
        """Open a cooperative's folder and replay its log; raise CoopError if there is none, or it does not hold.

        Args:
            root: the folder.
            read_only: nothing will be appended.
            folded: a register this process folded from this log, which nobody else will use; only what came since is replayed.
            jobs: processes that check signatures, 0 for one a core in a long log; with any but 1 the calling program must be importable.
            progress: told how many entries are folded.
        """
        paths = Paths(root)
        pin = paths.pin()
        with Log.open(paths.log, read_only=read_only) as log:
            cooperative = cls(paths, log, pin, read_only)
            if folded is not None and folded.size:
                cooperative.register, cooperative._folded = folded, folded.size
            cooperative.refresh(jobs=jobs, progress=progress)
            if not cooperative.register.size:
                raise CoopError(f"the log {log.place} is empty, and this folder is of cooperative {pin}", next="look for it: COOP_LOG_URL, or a backup")
            yield cooperative

    @classmethod
    def found(cls, root: Path, entry_bytes: bytes, log_key: NoteKey, *, log: URL | None = None) -> str:
        """Write the first entry of a new cooperative and pin its identity; return the digest of the founding statement.

        Args:
            root: the folder.
            entry_bytes: the founding statement, signed by everybody.
            log_key: signs the checkpoints.
            log: where the log shall be; None takes COOP_LOG_URL, else a file in the folder. Its password is not kept.

        Raises:
            BadInput: there is a log of another cooperative already, or the statement names another log key.
        """
        paths = Paths(root)
        register = Register()
        founding = register.apply(entry_bytes)
        if register.log_key != log_key.verifier:
            raise BadInput("the founding statement names another log key", value=register.log_key.text)
        place = log or paths.log
        with Log.open(place) as opened:
            if next(opened.entries(), entry_bytes) != entry_bytes:
                raise BadInput("there is a log of another cooperative already", value=opened.place, next="found this one in another folder or database")
            if opened.size == 0:
                opened.append([entry_bytes], expected_size=0, note=partial(_checkpoint, log_key, _unix(now())))
            kept = {"log": opened.place} if isinstance(place, URL) else {}
        # The pin comes last: a folder without it is not yet a cooperative.
        write_bytes(paths.identity, dumps({"format": "coop.folder/v1", "coop": founding.id, "name": register.name} | kept))
        return founding.id

    def refresh(self, *, jobs: int = 1, progress: Callable[[str, int, int], None] | None = None) -> None:
        """Fold in what other writers appended since; arguments as `open`'s."""
        if self.register.size != self._folded:  # the rules said yes to an entry, the database said no
            self.register, self._folded = Register(), 0
        total = self.log.size if progress or jobs != 1 else 0
        entries = self._vouched(self.log.entries(self.register.size), workers(jobs, total - self.register.size))
        for data, vouched in entries:
            statement = parse(data, source=f"entry {self.register.size}") if vouched is None else vouched
            self._fold(statement)
            if self.register.size == 1 and statement.id != self.pin:
                raise Refused("the log is of another cooperative than this folder's pin", value=statement.id, allowed=self.pin)
            self._folded += 1
            if progress and (self._folded % TELL == 0 or self._folded == total):
                progress("log", self._folded, max(total, self._folded))

    def _vouched(self, entries: Iterator[bytes], jobs: int) -> Iterator[tuple[bytes, Statement | None]]:
        """Yield entries with their statements where their signatures were found good; with None for those that have to be looked at."""
        return vouched_statements(entries, jobs=jobs)

    def _fold(self, statement: Statement) -> None:
        """Fold the next statement of the log in; who keeps an index of the log beside the register does it here."""
        self.register.admit(statement)

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

        def numbered(number: int, error: CoopError) -> CoopError:
            what = f"entry {number} of the {len(batch)} to append: {error.what}" if len(batch) > 1 else error.what
            return type(error)(what, value=error.value, allowed=error.allowed, next=error.next)

        statements = []
        for number, data in enumerate(batch, start=1):
            try:
                statements.append(parse(data))
            except CoopError as error:
                raise numbered(number, error) from error
        for number, refusal in enumerate(self._append(statements, whole=True), start=1):
            if refusal:
                raise numbered(number, refusal) from refusal
        return statements

    def append_each(self, statements: Sequence[Statement]) -> list[CoopError | None]:
        """Append durably, under one checkpoint, those statements that the rules allow, each after the ones before it.

        Args:
            statements: from `parse`, which has checked their signatures.

        Returns:
            for each why it was refused; None if it is in the log.

        Raises:
            CoopError: the log could not be written, or does not hash to its newest checkpoint; nothing was appended.
        """
        return self._append(statements, whole=False)

    def _append(self, statements: Sequence[Statement], *, whole: bool) -> list[CoopError | None]:
        """Append what is allowed; if `whole`, everything or, with one refusal at the end of what is returned, nothing."""
        if not statements:
            return []
        key = NoteKey.load(self.paths.log_key)
        if key.verifier != self.register.log_key:
            raise BadInput(
                "this is not the key of this log; a checkpoint it signed could never be verified", value=key.verifier.text, allowed=self.register.log_key.text
            )
        self.refresh()  # most of it before others have to wait
        size, batch, refusals = self.register.size, list[bytes](), list[CoopError | None]()
        try:
            with self.log.exclusive():
                self.refresh()
                size = self.register.size
                for statement in statements:
                    refusals.append(self._admit(statement))
                    if refusals[-1] is None:
                        batch.append(statement.entry)
                    elif whole:
                        break
                if batch and not (whole and refusals[-1]):
                    note = self.log.checkpoint()
                    last = verify_checkpoint(note, self.register.log_key, signatures=note != self._signed)
                    moment = max(_unix(self.clock()), last.time)
                    self._signed = self.log.append(batch, expected_size=size, note=partial(_checkpoint, key, moment), expected_root=last.root)
        except CoopError:
            if not self._went_in(batch, size):
                raise
        if whole and refusals[-1]:
            self.refresh()  # forget those before it
        else:
            self._folded = self.register.size
        return refusals

    def _admit(self, statement: Statement) -> CoopError | None:
        """Fold a statement into the register, unless the writer's clock or the rules are against it."""
        try:
            self._require_timely(statement)
            self.register.admit(statement)
        except CoopError as error:
            return error
        return None

    def _went_in(self, batch: list[bytes], size: int) -> bool:
        """After an error, tell whether the batch is in the log all the same: the answer to a commit can be lost."""
        with suppress(CoopError):
            if batch and list(self.log.entries(size, size + len(batch))) == batch:
                return True
            self.refresh()
        return False

    def _require_timely(self, statement: Statement) -> None:
        """Refuse what the writer's own clock shows to be misdated: only the writer sees when a statement really came in."""
        moment = self.clock()
        if statement.issued > shift(moment, CLOCK_SKEW_S):
            raise Refused("this statement is dated in the future", value=statement.issued, allowed=f"until {moment}", next="set the clock, and sign again")
        if isinstance(statement.payload, Ballot | Opinions | Preference):
            proposal = self.register.proposal(statement.payload.proposal)
            if moment > shift(proposal.closes, CLOCK_SKEW_S):
                raise Refused("this vote is over", value=moment, allowed=f"until {proposal.closes}")
        if isinstance(statement.payload, Objection):
            proposal = self.register.proposal(statement.payload.proposal)
            if proposal.closed_at is not None and moment >= proposal.due():
                raise Refused("the time to object is over", value=moment, allowed=f"before {proposal.due()}")
        if isinstance(statement.payload, _TIMED) and statement.issued < shift(moment, -DRAFT_S):
            raise Refused("this statement was drafted too long ago", value=statement.issued, allowed=f"within {DRAFT_S} s", next="draft and sign it again")

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

    def checkpoint(self) -> str:
        """Return the newest checkpoint with the cosignatures of the witnesses whom the bylaws at its place name."""
        note = self.log.checkpoint()  # read first: the entries under it are there then, whoever appends meanwhile
        self.refresh()
        size = read_body(note).size
        if size != self.register.size:  # somebody appended meanwhile, and no witness has seen that yet
            return note
        return self.register.bylaws.policy.attach(note, self.log.cosignatures(size))

    def proof(self) -> Proof:
        """Return the portable proof of everything up to now."""
        note = self.checkpoint()
        return Proof(note, tuple(self.log.entries(0, read_body(note).size)))

    def find(self, prefix: str) -> Statement:
        """Return the statement whose digest starts with `prefix`."""
        hits = [
            statement
            for statement in map(parse, self.log.entries())
            if statement.id.startswith(prefix) or statement.id.removeprefix("sha256:").startswith(prefix)
        ]
        if len(hits) != 1:
            raise BadInput(("no statement" if not hits else "more than one statement") + " with this digest", value=prefix, next="coop log")
        return hits[0]


def _checkpoint(key: NoteKey, moment: int, size: int, root: bytes) -> str:
    return sign_checkpoint(key, size, root, moment)


def _unix(instant: str) -> int:
    return int(datetime.fromisoformat(instant).timestamp())

"""A witness: its key, the logs it watches, and for each the newest checkpoint it cosigned.

    DIR/witness.key                  the signing key (0600); lose it and you are another witness
    DIR/logs/<sha256 of origin>/     log.vkey, and checkpoint: the newest one, with our cosignature
    DIR/evidence/                    contradictions in what logs signed (governance_hooks.witness.evidence)

What was cosigned is on disk before the cosignature leaves: killed at any moment, a witness never signs two roots of one size.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from governance_hooks import merkle
from governance_hooks.atomic import write_bytes
from governance_hooks.checkpoint import Checkpoint, NoteVerifier, read_signed
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.note import split_note
from governance_hooks.witness.cosigner import CosignerKey
from governance_hooks.witness.evidence import Evidence
from governance_hooks.witness.protocol import AGAIN_S, SIZE_TYPE, Answer, Request

__all__ = ["Known", "Witness"]


@dataclass(frozen=True, slots=True)
class Known:
    """A log a witness watches, and the newest checkpoint of it that was cosigned."""

    log: NoteVerifier
    checkpoint: Checkpoint | None = None
    """None before the first; its time is that of the log's own key."""
    note: str = ""
    """The log's own lines."""
    served: str = ""
    """The same with our cosignature: what monitors get."""
    cosigned: int = 0
    """When we cosigned it, Unix seconds."""


@dataclass(frozen=True, slots=True)
class Witness:
    """An open witness folder; `add_checkpoint` may be called from several threads and processes at once."""

    root: Path
    key: CosignerKey
    clock: Callable[[], int] = field(default=lambda: int(time.time()))

    @classmethod
    def create(cls, root: Path, name: str, kind: str = "ed25519") -> Witness:
        """Make a witness with a new key in an empty or new folder."""
        if (root / "witness.key").exists():
            raise BadInput(f"{root} is a witness already", next=f"coop witness show {root}")
        return cls(root, CosignerKey.generate(name, root / "witness.key", kind))

    @classmethod
    def open(cls, root: Path) -> Witness:
        """Open a witness' folder; raise BadInput if it is none."""
        return cls(root, CosignerKey.load(root / "witness.key"))

    def trust(self, log: NoteVerifier) -> Path:
        """Watch a log from now on; raise Refused if another key is known for this origin, or the key is our own."""
        if log.raw == self.key.cosigner.raw or log.name == self.key.name:
            raise Refused("a witness cannot watch itself", value=log.name)
        place = self._place(log.name)
        with _locked(place):
            if (place / "log.vkey").is_file() and self._read(place).log != log:
                raise Refused("this origin has another key here already: two logs cannot share one", value=log.text, allowed=self._read(place).log.text)
            write_bytes(place / "log.vkey", f"{log.text}\n".encode())
        return place

    def logs(self) -> list[Known]:
        """Return every watched log with its newest checkpoint, sorted by origin."""
        places = (path.parent for path in (self.root / "logs").glob("*/log.vkey"))
        return sorted((self._read(place) for place in places), key=lambda known: known.log.name)

    def served(self, origin_hash: str) -> str | None:
        """Return the newest cosigned note of the log with this SHA-256 of its origin (64 hex digits), or None."""
        found = next((path.parent for path in (self.root / "logs").glob("*/log.vkey") if path.parent.name == origin_hash), None)
        return None if found is None else self._read(found).served or None

    def add_checkpoint(self, data: bytes) -> Answer:
        """Answer a request (C2SP tlog-witness): cosign the checkpoint if it extends what was cosigned before.

        Raises:
            CoopError: the folder cannot be read or written, or this machine's clock went back; nothing was cosigned.
        """
        # (1) The request is well-formed.
        try:
            request = Request.loads(data)
            claim = request.claim()
        except Refused as refused:
            return _answer(400, refused.what)
        # (2) Its log is one we watch, and its key signed the checkpoint.
        place = self._place(claim.origin)
        if not (place / "log.vkey").is_file():
            return _answer(404, "this witness does not watch this log")
        log = self._read(place).log
        try:
            checkpoint, note = read_signed(request.note, log)
        except Refused as refused:
            return _answer(403, refused.what)
        # (3) The proof starts at a size the checkpoint has reached.
        if request.old > checkpoint.size:
            return _answer(400, "the old size is larger than the checkpoint's")
        with _locked(place):
            return self._judge(place, self._read(place), request, checkpoint, note)

    def _judge(self, place: Path, known: Known, request: Request, checkpoint: Checkpoint, note: str) -> Answer:
        last, size = known.checkpoint, 0 if known.checkpoint is None else known.checkpoint.size
        # (4) It is no step back, and starts from what we cosigned last.
        if last is not None and (checkpoint.size < size or (checkpoint.size == size and checkpoint.root != last.root)):
            self._keep(known, note)
        if request.old != size:
            return Answer(409, f"{size}\n", SIZE_TYPE)
        # (5) It extends what we cosigned last.
        if checkpoint.size == 0:
            extends = checkpoint.root == merkle.root([]) and not request.path
        elif size == 0:
            extends = not request.path
        else:
            assert last is not None
            extends = merkle.verify_consistency(size, checkpoint.size, request.path, last.root, checkpoint.root)
        if not extends:
            if last is not None and size:
                self._keep(known, note)
            return _answer(422, f"the checkpoint is not shown to extend the {size} entries this witness cosigned")
        # (6) Cosign it, and remember that before anybody sees the cosignature.
        moment = self.clock()
        if moment < known.cosigned:
            raise CoopError(
                "this machine's clock went back since the last cosignature", value=moment, allowed=f"{known.cosigned} or later", next="set the clock"
            )
        if last is not None and last.size == checkpoint.size and moment < known.cosigned + AGAIN_S:
            return Answer(200, known.served.removeprefix(known.note))  # the same signature again: nobody picks among many
        line = self.key.cosign(checkpoint, moment)
        self._persist(place, note + line)
        return Answer(200, line)

    def _persist(self, place: Path, served: str) -> None:
        write_bytes(place / "checkpoint", served.encode())

    def _keep(self, known: Known, note: str) -> None:
        Evidence(known.log, known.note, note).keep(self.root / "evidence")

    def _place(self, origin: str) -> Path:
        return self.root / "logs" / hashlib.sha256(origin.encode()).hexdigest()

    def _read(self, place: Path) -> Known:
        """Read a log's state; raise CoopError if it is not what we wrote: a witness that forgot must not sign."""
        try:
            log = NoteVerifier.parse((place / "log.vkey").read_text(encoding="utf-8").strip())
            try:
                served = (place / "checkpoint").read_text(encoding="utf-8")
            except FileNotFoundError:
                return Known(log)
            checkpoint, note = read_signed(served, log)
            cosigned = self.key.cosigner.verify(checkpoint, split_note(served)[1][-1])
        except (OSError, UnicodeDecodeError, Refused) as error:
            raise CoopError(
                f"the state of this witness in {place} does not hold: {error}", next="do not cosign this log again from a backup: it may have signed more since"
            ) from error
        return Known(log, checkpoint, note, served, cosigned)


def _answer(status: int, why: str) -> Answer:
    return Answer(status, why + "\n")


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Hold one log's state against other threads and processes; the system lets go of it when the process ends."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        fd = os.open(place / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CoopError(f"cannot write {place}: {error.strerror}", next="free space, or choose another folder") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)

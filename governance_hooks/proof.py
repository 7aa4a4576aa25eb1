"""Approval proof: one portable file that carries all a gate needs to know, and nothing it has to believe.

It holds a signed checkpoint and every entry of the log up to it. Whoever checks it hashes the entries to the
checkpoint's root, verifies each signature and replays each rule: no ballot, withdrawal or halt can be left out
without changing the root. See docs/adr/0003 for what this costs at size.

The file is JSON lines in gzip (RFC 1952), so `gunzip` reads it: first {"checkpoint", "format"}, then one entry a line. Its
header has one form only, and holds the digest of all that follows, because gzip itself does not see every changed bit.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from governance_hooks import merkle
from governance_hooks.canonical import CanonicalError, dumps, loads
from governance_hooks.checkpoint import Checkpoint, verify_checkpoint
from governance_hooks.errors import Refused
from governance_hooks.register import Register
from governance_hooks.statement import CLOCK_SKEW_S, MAX_ENTRY, parse, shift, timestamp
from governance_hooks.vouching import vouched_statements
from governance_hooks.witness.policy import Witnessed

__all__ = ["Proof", "Replay", "read_proof"]

FORMAT = "coop.proof/v2"

_HEAD = bytes.fromhex("1f8b0804 00000000 00ff 2400") + b"CP" + bytes.fromhex("2000")
"""Header of RFC 1952 with no name, time or system, and one extra field of ours ("CP"), the 32 bytes after it."""
_RAW = -zlib.MAX_WBITS
_SLICE = 1 << 16
"""Bytes unpacked at once."""
RATIO, FLOOR = 32, 1 << 20
"""A file unpacks to at most RATIO times its size, or FLOOR bytes: a larger one is a bomb, for signatures do not compress."""
SHORTEST = 256
"""Bytes; no signed entry is shorter."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A proof that holds: the register it folds into, the checkpoint over it, and what witnesses say of that.

    Whether enough witnesses have cosigned is not asked yet: `witnessed.time` does, and raises if not.
    """

    register: Register
    checkpoint: Checkpoint
    witnessed: Witnessed


@dataclass(frozen=True, slots=True)
class Proof:
    """A checkpoint (signed note) and the log entries [0, size) under it."""

    checkpoint: str
    entries: tuple[bytes, ...]

    def dumps(self) -> bytes:
        """Return the file's bytes; what packs too well for `read_proof` to unpack is stored unpacked."""
        text = b"\n".join((_first(self.checkpoint), *self.entries, b""))
        packed = _gzip(text)
        return packed if len(text) <= _limit(len(packed)) else _gzip(text, level=0)

    def verify_log(self, pin: str | None) -> Checkpoint:
        """Check the cooperative's identity, the checkpoint's signatures and the Merkle root; return the checkpoint.

        Args:
            pin: digest of the founding statement you expect; None takes the one in the proof (say so to the user).

        Raises:
            Refused: another cooperative, a checkpoint the log's key did not sign, or entries that do not hash to its root.
        """
        if not self.entries:
            raise Refused("the proof holds no entries")
        founding = parse(self.entries[0], source="entry 0")
        if founding.type != "coop.founding/v1":
            raise Refused("the log does not start with a founding statement", value=founding.type)
        if pin is not None and founding.id != pin:
            raise Refused("the proof is of another cooperative", value=founding.id, allowed=pin)
        start = Register()
        start.admit(founding)
        checkpoint = verify_checkpoint(self.checkpoint, start.log_key)
        if checkpoint.size != len(self.entries):
            raise Refused("the proof holds another number of entries than its checkpoint covers", value=len(self.entries), allowed=str(checkpoint.size))
        if merkle.root([merkle.leaf_hash(entry) for entry in self.entries]) != checkpoint.root:
            raise Refused("the entries do not hash to the checkpoint's root: one was changed, left out or put in")
        return checkpoint

    def replay(self, pin: str | None) -> Replay:
        """Check everything: identity, checkpoint, root, every signature and every rule, and every cosignature by the bylaws in force.

        Raises:
            Refused: with the number of the first entry that is not allowed.
        """
        checkpoint = self.verify_log(pin)
        register = self.fold()
        return Replay(register, checkpoint, register.bylaws.policy.check(checkpoint))

    def fold(self, size: int | None = None) -> Register:
        """Replay signatures and rules of the first `size` entries; all, if None."""
        register, latest = Register(), ""
        for position, (entry, statement) in enumerate(vouched_statements(self.entries[:size])):
            try:
                if statement is None:
                    statement = register.apply(entry)
                else:
                    register.admit(statement)
                if position == 0:
                    time = datetime.fromtimestamp(verify_checkpoint(self.checkpoint, register.log_key).time, UTC)
                    latest = shift(timestamp(time), CLOCK_SKEW_S)
                if statement.issued > latest:
                    raise Refused("it is dated after the checkpoint that covers it", value=statement.issued, allowed=f"until {latest}")
            except Refused as error:
                raise Refused(f"entry {position} of the log is not allowed: {error.what}", value=error.value, allowed=error.allowed) from error
        return register


def _first(checkpoint: str) -> bytes:
    return dumps({"checkpoint": checkpoint, "format": FORMAT})


def _limit(packed: int) -> int:
    return max(FLOOR, RATIO * packed)


def _gzip(text: bytes, *, level: int = 6) -> bytes:
    pack = zlib.compressobj(level, zlib.DEFLATED, _RAW)
    rest = pack.compress(text) + pack.flush() + zlib.crc32(text).to_bytes(4, "little") + (len(text) & 0xFFFFFFFF).to_bytes(4, "little")
    return _HEAD + hashlib.sha256(rest).digest() + rest


def _unpacked(data: bytes) -> Iterator[bytes]:
    """Yield what a proof's gzip holds, a little at a time; raise Refused or zlib.error for any byte not as it was written."""
    start = len(_HEAD) + 32
    if not data.startswith(_HEAD) or data[len(_HEAD) : start] != hashlib.sha256(memoryview(data)[start:]).digest():
        raise Refused("this file is no proof of a version we know, or its bytes were changed", allowed=FORMAT)
    unpack, total = zlib.decompressobj(16 + zlib.MAX_WBITS), 0
    for at in range(0, len(data), _SLICE):
        part = data[at : at + _SLICE]
        while part and not unpack.eof:
            text = unpack.decompress(part, _SLICE)
            part, total = unpack.unconsumed_tail, total + len(text)
            if total > _limit(len(data)):
                raise Refused("this file unpacks to more than a proof of its size can", value=total, allowed=f"{RATIO} times its {len(data)} bytes")
            yield text
    if not unpack.eof or unpack.unused_data:
        raise Refused("this file is cut off, or goes on after its end")


def _lines(data: bytes) -> Iterator[bytes]:
    """Yield the lines of a proof file, none longer than an entry may be."""
    rest = b""
    for text in _unpacked(data):
        *lines, rest = (rest + text).split(b"\n")
        for line in (*lines, rest):
            if len(line) > MAX_ENTRY:
                raise Refused("this proof has a line that is longer than an entry", value=len(line), allowed=f"{MAX_ENTRY} bytes")
        yield from lines
    if rest:
        raise Refused("this proof's last line has no end")


def read_proof(data: bytes) -> Proof:
    """Parse a proof file; raise Refused for any byte outside the entries that is not as `Proof.dumps` writes it.

    The entries are cut out as they stand: each is checked when it is replayed, and all of them by the root. Memory is
    bounded by the size of the file (see RATIO).
    """
    try:
        lines = _lines(data)
        first = next(lines, b"")
        value = loads(first, source="the proof's first line")
        if not isinstance(value, dict) or not isinstance(value.get("checkpoint"), str) or first != _first(value["checkpoint"]):
            raise Refused("this file is no proof of a version we know", allowed=FORMAT)
        entries = []
        for line in lines:
            if len(line) < SHORTEST:
                raise Refused("this proof has a line that is no entry", value=line)
            entries.append(line)
    except (zlib.error, CanonicalError) as error:
        raise Refused(f"this file is no proof: {error}", allowed=FORMAT) from error
    return Proof(value["checkpoint"], tuple(entries))

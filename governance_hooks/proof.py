"""Approval proof: one portable file that carries all a gate needs to know, and nothing it has to believe.

It holds a signed checkpoint and every entry of the log up to it. Whoever checks it hashes the entries to the
checkpoint's root, verifies each signature and replays each rule: no ballot, withdrawal or halt can be left out
without changing the root. See docs/adr/0003 for what this costs at size.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from governance_hooks import merkle
from governance_hooks.canonical import dumps
from governance_hooks.checkpoint import Checkpoint, verify_checkpoint
from governance_hooks.errors import Refused
from governance_hooks.register import Register
from governance_hooks.statement import CLOCK_SKEW_S, parse, shift, timestamp
from governance_hooks.witness.policy import Witnessed

__all__ = ["Proof", "Replay", "read_proof"]

FORMAT = "coop.proof/v1"


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
        """Return the canonical file bytes."""
        return b'{"checkpoint":' + dumps(self.checkpoint) + b',"entries":[' + b",".join(self.entries) + b'],"format":' + dumps(FORMAT) + b"}"

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
        for position, entry in enumerate(self.entries[:size]):
            try:
                statement = register.apply(entry)
                if position == 0:
                    time = datetime.fromtimestamp(verify_checkpoint(self.checkpoint, register.log_key).time, UTC)
                    latest = shift(timestamp(time), CLOCK_SKEW_S)
                if statement.issued > latest:
                    raise Refused("it is dated after the checkpoint that covers it", value=statement.issued, allowed=f"until {latest}")
            except Refused as error:
                raise Refused(f"entry {position} of the log is not allowed: {error.what}", value=error.value, allowed=error.allowed) from error
        return register


def read_proof(data: bytes) -> Proof:
    """Parse a proof file; raise Refused for any byte outside the entries that is not as `Proof.dumps` writes it.

    The entries are cut out as they stand: each is checked when it is replayed, and all of them by the root.
    """
    scan = json.JSONDecoder().raw_decode
    entries: list[bytes] = []
    try:
        text = data.decode()
        checkpoint, at = scan(text, len('{"checkpoint":'))
        at += len(',"entries":[')
        while text[at] == "{":
            _, end = scan(text, at)
            entries.append(text[at:end].encode())
            at = end + 1
    except (ValueError, IndexError, RecursionError) as error:
        raise Refused(f"this file is no proof: {error}", allowed=FORMAT) from error
    if not isinstance(checkpoint, str):
        raise Refused("the proof's checkpoint is malformed", allowed=FORMAT)
    proof = Proof(checkpoint, tuple(entries))
    if proof.dumps() != data:
        raise Refused("this file is no proof of a version we know, or its bytes are not canonical", allowed=FORMAT)
    return proof

"""Checkpoints: the signed tree head of the log, as a C2SP signed note with timestamped cosignatures.

A checkpoint is `origin \\n size \\n base64(root) \\n` (C2SP tlog-checkpoint), signed by the log's Ed25519 key
(C2SP signed-note, type 0x01). The note also bears a cosignature/v1 (type 0x04) of the log's own key, which adds the
operator's time, and after it the cosignatures of witnesses, sorted by name (`governance_hooks.witness`).
"""

from __future__ import annotations

import base64
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance_hooks.atomic import write_bytes
from governance_hooks.ed25519 import verifies
from governance_hooks.errors import BadInput, Refused
from governance_hooks.note import NAME, key_id, read_line, read_vkey, signature_line, split_note, vkey
from governance_hooks.ssh.publickey import PublicKey
from governance_hooks.ssh.wire import decode_base64

__all__ = [
    "MAX_WITNESSES",
    "Checkpoint",
    "NoteKey",
    "NoteVerifier",
    "cosigned_message",
    "read_body",
    "read_signed",
    "read_time",
    "sign_checkpoint",
    "verify_checkpoint",
]

MAX_WITNESSES = 16
"""Cosignatures of witnesses a checkpoint bears at most; every C2SP verifier accepts so many."""

_ED25519, _COSIGNATURE = 0x01, 0x04
_CENTURY = 4_102_444_800
"""2100-01-01: all dates of a log are before it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified tree head: origin, number of entries, root (32 bytes), the time the log's own key states (Unix seconds)."""

    origin: str
    size: int
    root: bytes
    time: int
    cosignatures: tuple[str, ...] = ()
    """Lines of witnesses, well-formed but NOT verified: `governance_hooks.witness.policy` checks them by the bylaws in force."""

    @property
    def body(self) -> bytes:
        """The signed text of the note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """The public half of a log's key: name and raw ed25519 key."""

    name: str
    raw: bytes

    def key_id(self, kind: int) -> bytes:
        """Return the 4-byte key id of C2SP signed-note."""
        return key_id(self.name, kind, self.raw)

    @property
    def text(self) -> str:
        """The vkey form `name+hash+base64(type || key)`."""
        return vkey(self.name, _ED25519, self.raw)

    @classmethod
    def parse(cls, text: str) -> NoteVerifier:
        """Parse a vkey; raise Refused if it is not of an Ed25519 log key or its hash does not match."""
        name, kind, raw = read_vkey(text)
        if kind != _ED25519 or len(raw) != 32:
            raise Refused("not an Ed25519 note verifier key", value=text[:60])
        return cls(name, PublicKey.from_raw(raw).raw)  # which refuses points of small order


@dataclass(frozen=True, slots=True)
class NoteKey:
    """The log's signing key."""

    name: str
    _key: Ed25519PrivateKey

    @property
    def verifier(self) -> NoteVerifier:
        """The public half."""
        return NoteVerifier(self.name, self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str, path: Path) -> NoteKey:
        """Create a key and store its seed at `path` (mode 0600)."""
        if not NAME.fullmatch(name):
            raise BadInput("log name is not allowed", value=name, allowed=NAME.pattern)
        key = Ed25519PrivateKey.generate()
        write_bytes(path, f"{name}\n{base64.b64encode(key.private_bytes_raw()).decode()}\n".encode(), mode=0o600)
        return cls(name, key)

    @classmethod
    def load(cls, path: Path) -> NoteKey:
        """Read a key written by `generate`."""
        try:
            name, seed = path.read_text(encoding="utf-8").split()
            return cls(name, Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed)))
        except (OSError, ValueError) as error:
            raise BadInput(f"cannot read the log key {path}: {error}", next="restore it from the operator's backup") from error


def cosigned_message(body: bytes, time: int) -> bytes:
    """Return the message of a C2SP Ed25519 cosignature (cosignature/v1) of a checkpoint body at Unix second `time`."""
    return b"cosignature/v1\ntime %d\n" % time + body


def read_time(timestamped: bytes) -> int:
    """Return the Unix second of a C2SP timestamped_signature; raise Refused for a date no statement can have."""
    time = int(struct.unpack(">Q", timestamped[:8])[0])
    if not 0 < time < _CENTURY:
        raise Refused("the time of a cosignature is not in this century", value=time)
    return time


def sign_checkpoint(key: NoteKey, size: int, root: bytes, time: int) -> str:
    """Return the signed note for a tree of `size` entries at Unix second `time`."""
    body = Checkpoint(key.name, size, root, time).body
    signed = signature_line(key.name, key.verifier.key_id(_ED25519), key._key.sign(body))
    cosigned = struct.pack(">Q", time) + key._key.sign(cosigned_message(body, time))
    return body.decode() + "\n" + signed + signature_line(key.name, key.verifier.key_id(_COSIGNATURE), cosigned)


def read_body(note: str) -> Checkpoint:
    """Return what a note says, its signatures unchecked and its time 0; raise Refused if it is no checkpoint."""
    lines = note.partition("\n\n")[0].split("\n")
    if len(lines) != 3 or not lines[0] or not re.fullmatch(r"0|[1-9][0-9]{0,15}", lines[1]):
        raise Refused("checkpoint is not a signed note of origin, size and root", value=note[:80])
    root = decode_base64(lines[2])
    if len(root) != 32:
        raise Refused("checkpoint's root is not 32 bytes", value=lines[2][:60])
    return Checkpoint(lines[0], int(lines[1]), root, 0)


def verify_checkpoint(note: str, verifier: NoteVerifier, *, signatures: bool = True) -> Checkpoint:
    """Check the log's part of a note and the form of all of it; return what it says.

    A note has one byte form: the log's signature, its timestamped cosignature, and lines of witnesses sorted by name, each
    name once. The lines of witnesses are returned unverified: who is a witness stands in the bylaws, which this does not know.

    Args:
        note: the note's text.
        verifier: the log's key.
        signatures: False only for a note whose signatures were checked before.

    Raises:
        Refused: the log's key did not sign this, or a byte is not as that form has it.
    """
    found = read_body(note)
    if found.origin != verifier.name:
        raise Refused("checkpoint is of another log", value=found.origin[:60], allowed=verifier.name)
    text, lines = split_note(note)
    if text.encode() != found.body or len(lines) < 2:
        raise Refused("checkpoint must bear the log's signature and then its timestamped cosignature")
    plain, timed = _own(lines[0], verifier, _ED25519), _own(lines[1], verifier, _COSIGNATURE)
    if plain is None or timed is None:
        raise Refused("checkpoint is not signed by the log's key", value=lines[plain is not None][:60], allowed=verifier.text)
    names = [read_line(line)[0] for line in lines[2:]]
    if names != sorted(set(names)) or len(names) > MAX_WITNESSES or not all(NAME.fullmatch(name) and name != verifier.name for name in names):
        raise Refused(
            "after the log's two signatures a checkpoint bears cosignatures of witnesses, sorted by name and each once, and nothing else",
            value=", ".join(names)[:120],
            allowed=f"at most {MAX_WITNESSES}",
        )
    return _verified(found, verifier, plain, timed, tuple(lines[2:]), signatures)


def read_signed(note: str, verifier: NoteVerifier) -> tuple[Checkpoint, str]:
    """Check what the log's key signed in a note, ignoring signatures of others as C2SP signed-note asks; for witnesses and evidence.

    Returns:
        The checkpoint (time 0 if the log's key states none), and the note with nothing but the log's own lines.

    Raises:
        Refused: no line is signed by the log's key, or one that claims to be does not verify.
    """
    found = read_body(note)
    text, lines = split_note(note)
    if found.origin != verifier.name or text.encode() != found.body:
        raise Refused("checkpoint is of another log", value=found.origin[:60], allowed=verifier.name)
    plain = [(line, blob) for line in lines if (blob := _own(line, verifier, _ED25519)) is not None]
    timed = [(line, blob) for line in lines if (blob := _own(line, verifier, _COSIGNATURE)) is not None]
    if not plain or len(plain) > 1 or len(timed) > 1:
        raise Refused("checkpoint is not signed by the log's key, once", value=lines[0][:60], allowed=verifier.text)
    checkpoint = _verified(found, verifier, plain[0][1], timed[0][1] if timed else None)
    return checkpoint, text + "\n" + "".join(line + "\n" for line, _ in plain + timed)


def _own(line: str, verifier: NoteVerifier, kind: int) -> bytes | None:
    """Return the signature of a line that claims to be of the log's key and this type; None for other lines."""
    try:
        name, identifier, blob = read_line(line)
    except Refused:
        return None
    return blob if name == verifier.name and identifier == verifier.key_id(kind) else None


def _verified(
    found: Checkpoint, verifier: NoteVerifier, plain: bytes, timed: bytes | None, cosignatures: tuple[str, ...] = (), signatures: bool = True
) -> Checkpoint:
    if len(plain) != 64 or (timed is not None and len(timed) != 72):
        raise Refused("checkpoint signature does not verify: it is not of its type's length", value=found.origin[:60])
    time = 0 if timed is None else read_time(timed)
    if signatures:
        dated = timed is None or verifies(verifier.raw, timed[8:], cosigned_message(found.body, time))
        if not (dated and verifies(verifier.raw, plain, found.body)):
            raise Refused("checkpoint signature does not verify", value=found.origin[:60])
    return Checkpoint(found.origin, found.size, found.root, time, cosignatures)

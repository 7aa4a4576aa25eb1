"""Checkpoints: the signed tree head of the log, as a C2SP signed note with a timestamped cosignature.

A checkpoint is `origin \\n size \\n base64(root) \\n` (C2SP tlog-checkpoint), signed by the log's Ed25519 key
(C2SP signed-note, type 0x01). The note also bears a cosignature/v1 (type 0x04) of the operator's own cosigner,
which adds the time: without an independent witness that time is the operator's word, and the gate says so.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from governance_hooks.atomic import write_bytes
from governance_hooks.errors import BadInput, Refused
from governance_hooks.ssh.wire import decode_base64

__all__ = ["Checkpoint", "NoteKey", "NoteVerifier", "read_body", "sign_checkpoint", "verify_checkpoint"]

_ED25519, _COSIGNATURE = 0x01, 0x04
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified tree head: origin, number of entries, root (32 bytes), cosigned time (Unix seconds)."""

    origin: str
    size: int
    root: bytes
    time: int

    @property
    def body(self) -> bytes:
        """The signed text of the note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """The public half of a note key: name and raw ed25519 key."""

    name: str
    raw: bytes

    def key_id(self, kind: int) -> bytes:
        """Return the 4-byte key id of C2SP signed-note."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([kind]) + self.raw).digest()[:4]

    @property
    def text(self) -> str:
        """The vkey form `name+hash+base64(type || key)`."""
        encoded = base64.b64encode(bytes([_ED25519]) + self.raw).decode()
        return f"{self.name}+{self.key_id(_ED25519).hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> NoteVerifier:
        """Parse a vkey; raise Refused if its hash does not match."""
        name, _, rest = text.partition("+")
        stated, _, encoded = rest.partition("+")
        data = decode_base64(encoded)
        if not _NAME.match(name) or len(data) != 33 or data[0] != _ED25519:
            raise Refused("not an Ed25519 note verifier key", value=text[:60])
        verifier = cls(name, data[1:])
        if verifier.key_id(_ED25519).hex() != stated:
            raise Refused("note verifier key does not match its hash", value=text[:60])
        return verifier


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
        if not _NAME.match(name):
            raise BadInput("log name is not allowed", value=name, allowed=_NAME.pattern)
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


def _cosigned(body: bytes, time: int) -> bytes:
    """Return the message of a C2SP cosignature/v1."""
    return b"cosignature/v1\ntime %d\n" % time + body


def _line(name: str, key_id: bytes, signature: bytes) -> str:
    return f"— {name} {base64.b64encode(key_id + signature).decode()}\n"


def sign_checkpoint(key: NoteKey, size: int, root: bytes, time: int) -> str:
    """Return the signed note for a tree of `size` entries at Unix second `time`."""
    body = Checkpoint(key.name, size, root, time).body
    signed = _line(key.name, key.verifier.key_id(_ED25519), key._key.sign(body))
    cosigned = _line(key.name, key.verifier.key_id(_COSIGNATURE), struct.pack(">Q", time) + key._key.sign(_cosigned(body, time)))
    return body.decode() + "\n" + signed + cosigned


def read_body(note: str) -> Checkpoint:
    """Return what a note says, its signatures unchecked and its time 0; raise Refused if it is no checkpoint."""
    lines = note.partition("\n\n")[0].split("\n")
    if len(lines) != 3 or not re.fullmatch(r"0|[1-9][0-9]{0,15}", lines[1]):
        raise Refused("checkpoint is not a signed note of origin, size and root", value=note[:80])
    return Checkpoint(lines[0], int(lines[1]), decode_base64(lines[2]), 0)


def verify_checkpoint(note: str, verifier: NoteVerifier, *, signatures: bool = True) -> Checkpoint:
    """Check a note of `sign_checkpoint` and return what it says.

    Args:
        note: the note's text.
        verifier: the log's key.
        signatures: False only for a note whose signatures were checked before.

    Raises:
        Refused: any byte differs from the one form of a note with exactly these two valid signatures.
    """
    body_text, separator, signed = note.partition("\n\n")
    lines = body_text.split("\n")
    if not separator or len(lines) != 3 or not re.fullmatch(r"0|[1-9][0-9]{0,15}", lines[1]):
        raise Refused("checkpoint is not a signed note of origin, size and root", value=note[:80])
    root = decode_base64(lines[2])
    if lines[0] != verifier.name or len(root) != 32:
        raise Refused("checkpoint is of another log", value=lines[0][:60], allowed=verifier.name)
    body = (body_text + "\n").encode()
    rows = signed.split("\n")
    if len(rows) != 3 or rows[2] != "":
        raise Refused("checkpoint must bear the log's signature and its timestamped cosignature, and nothing else")
    blobs = []
    for row, kind, extra in ((rows[0], _ED25519, 0), (rows[1], _COSIGNATURE, 8)):
        prefix = f"— {verifier.name} "
        blob = decode_base64(row.removeprefix(prefix)) if row.startswith(prefix) else b""
        if len(blob) != 4 + extra + 64 or blob[:4] != verifier.key_id(kind):
            raise Refused("checkpoint is not signed by the log's key", value=row[:60], allowed=verifier.text)
        blobs.append(blob[4:])
    time = struct.unpack(">Q", blobs[1][:8])[0]
    if not signatures:
        return Checkpoint(lines[0], int(lines[1]), root, time)
    public = Ed25519PublicKey.from_public_bytes(verifier.raw)
    try:
        public.verify(blobs[0], body)
        public.verify(blobs[1][8:], _cosigned(body, time))
    except InvalidSignature as error:
        raise Refused("checkpoint signature does not verify", value=lines[0][:60]) from error
    return Checkpoint(lines[0], int(lines[1]), root, time)

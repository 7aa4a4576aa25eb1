"""Cosigners: the keys of witnesses (C2SP tlog-cosignature, Ed25519 as type 0x04 and ML-DSA-44 as type 0x06).

A cosignature says: at this time, the largest tree of this log I have seen, and seen to extend all earlier ones, has this root.
ML-DSA-44 needs a `cryptography` built with it; where that is missing such a key can neither be made nor checked, and blocks.
"""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance_hooks.atomic import write_bytes
from governance_hooks.checkpoint import Checkpoint, cosigned_message, read_time
from governance_hooks.ed25519 import verifies
from governance_hooks.errors import BadInput, Refused
from governance_hooks.note import NAME, key_id, read_line, read_vkey, signature_line, vkey
from governance_hooks.ssh.publickey import PublicKey
from governance_hooks.ssh.wire import decode_base64

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import mldsa

__all__ = ["KINDS", "Cosigner", "CosignerKey"]

ED25519, ML_DSA_44 = 0x04, 0x06
KINDS = {"ed25519": ED25519, "ml-dsa-44": ML_DSA_44}
"""Names of the key types and their signature type bytes."""
_BYTES = {ED25519: (32, 64), ML_DSA_44: (1312, 2420)}
"""Sizes of public key and signature."""


def _mldsa() -> type[mldsa.MLDSA44PublicKey]:
    """Import ML-DSA-44; raise Refused where the library has none."""
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
    except ImportError as error:
        raise Refused("the installed `cryptography` has no ML-DSA-44", next="pip install --upgrade cryptography") from error
    return MLDSA44PublicKey


def _message(kind: int, name: str, checkpoint: Checkpoint, time: int) -> bytes:
    """Return what a cosigner signs."""
    if kind == ED25519:
        return cosigned_message(checkpoint.body, time)
    who, origin = name.encode(), checkpoint.origin.encode()
    head = b"subtree/v1\n\0" + bytes([len(who)]) + who + struct.pack(">Q", time) + bytes([len(origin)]) + origin
    return head + struct.pack(">QQ", 0, checkpoint.size) + checkpoint.root


@dataclass(frozen=True, slots=True)
class Cosigner:
    """The public half of a witness' key."""

    name: str
    kind: int
    raw: bytes
    """32 bytes of Ed25519, or 1312 of ML-DSA-44: the identity thresholds count."""

    @property
    def text(self) -> str:
        """The vkey form, for the bylaws."""
        return vkey(self.name, self.kind, self.raw)

    @classmethod
    def parse(cls, text: str) -> Cosigner:
        """Parse a vkey; raise Refused if it is no cosigner's, its hash does not match or anybody could sign for it."""
        name, kind, raw = read_vkey(text)
        if kind not in _BYTES or len(raw) != _BYTES[kind][0]:
            raise Refused("not the key of a cosigner", value=text[:60], allowed="a vkey of type 0x04 (Ed25519) or 0x06 (ML-DSA-44); see coop witness show")
        return cls(name, kind, PublicKey.from_raw(raw).raw if kind == ED25519 else raw)

    def verify(self, checkpoint: Checkpoint, line: str) -> int:
        """Return the Unix second of this cosigner's signature line; raise Refused unless it verifies over the checkpoint."""
        name, identifier, blob = read_line(line)
        if name != self.name or identifier != key_id(self.name, self.kind, self.raw) or len(blob) != 8 + _BYTES[self.kind][1]:
            raise Refused(f"not a cosignature by the key of witness {self.name}", value=line[:60], allowed=self.text[:80])
        time = read_time(blob)
        message = _message(self.kind, self.name, checkpoint, time)
        try:
            if self.kind == ED25519:
                good = verifies(self.raw, blob[8:], message)
            else:
                _mldsa().from_public_bytes(self.raw).verify(blob[8:], message)
                good = True
        except UnsupportedAlgorithm as error:
            raise Refused("the installed `cryptography` has no ML-DSA-44", next="pip install --upgrade cryptography") from error
        except (InvalidSignature, ValueError):
            good = False
        if not good:
            raise Refused(f"the cosignature of witness {self.name} does not verify", value=line[:60])
        return time


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """A witness' signing key."""

    name: str
    _key: Ed25519PrivateKey | mldsa.MLDSA44PrivateKey

    @property
    def cosigner(self) -> Cosigner:
        """The public half."""
        kind = ED25519 if isinstance(self._key, Ed25519PrivateKey) else ML_DSA_44
        return Cosigner(self.name, kind, self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str, path: Path, kind: str = "ed25519") -> CosignerKey:
        """Create a key of a type in KINDS and store its seed at `path` (mode 0600)."""
        if not NAME.fullmatch(name):
            raise BadInput("name of a witness is not allowed", value=name, allowed=NAME.pattern + ", best a domain of yours and a path")
        key: Ed25519PrivateKey | mldsa.MLDSA44PrivateKey
        if kind == "ed25519":
            key = Ed25519PrivateKey.generate()
        else:
            _mldsa()
            from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

            key = MLDSA44PrivateKey.generate()
        write_bytes(path, f"{name}\n{kind}\n{base64.b64encode(key.private_bytes_raw()).decode()}\n".encode(), mode=0o600)
        return cls(name, key)

    @classmethod
    def load(cls, path: Path) -> CosignerKey:
        """Read a key written by `generate`."""
        try:
            name, kind, seed = path.read_text(encoding="utf-8").split()
            if kind == "ed25519":
                return cls(name, Ed25519PrivateKey.from_private_bytes(decode_base64(seed)))
            _mldsa()
            from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

            return cls(name, MLDSA44PrivateKey.from_seed_bytes(decode_base64(seed)))
        except (OSError, ValueError) as error:
            raise BadInput(f"cannot read the witness' key {path}: {error}", next="restore it from your backup; a new key is a new witness") from error

    def cosign(self, checkpoint: Checkpoint, time: int) -> str:
        """Return the signature line, with its newline, of a checkpoint at Unix second `time`."""
        signature = self._key.sign(_message(self.cosigner.kind, self.name, checkpoint, time))
        return signature_line(self.name, key_id(self.name, self.cosigner.kind, self.cosigner.raw), struct.pack(">Q", time) + signature)

"""The SSHSIG envelope: armor, fields, and the bytes a key signs.  Source: OpenSSH PROTOCOL.sshsig."""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass

from governance_hooks.errors import Refused
from governance_hooks.ssh.publickey import PublicKey
from governance_hooks.ssh.wire import Reader, decode_base64, string

__all__ = ["NAMESPACE", "Envelope", "armor", "dearmor", "to_be_signed"]

NAMESPACE = "coop-statement@v1"
"""Domain separation: a signature made for git or for files never counts as a statement."""

_MAGIC = b"SSHSIG"
_VERSION = struct.pack(">I", 1)
_HASHES = ("sha512", "sha256")
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


def to_be_signed(message: bytes, algorithm: str) -> bytes:
    """Return SSHSIG's "blob to be signed"; for a passkey this is the WebAuthn challenge."""
    return _MAGIC + string(NAMESPACE.encode()) + string(b"") + string(algorithm.encode()) + string(hashlib.new(algorithm, message).digest())


def armor(blob: bytes) -> str:
    """Return the armored form, 70 columns a line as ssh-keygen writes it."""
    text = base64.b64encode(blob).decode()
    return "\n".join([_BEGIN, *(text[i : i + 70] for i in range(0, len(text), 70)), _END, ""])


def dearmor(text: str) -> bytes:
    """Return the bytes inside an armored signature; refuse any other spelling of the same bytes."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[0] != _BEGIN or lines[-2] != _END or lines[-1] != "":
        raise Refused("not an armored SSH signature", value=text[:40], allowed=f"{_BEGIN} ... {_END}")
    blob = decode_base64("".join(lines[1:-2]))
    if armor(blob) != text:
        raise Refused("armored signature is not in its canonical form")
    return blob


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields of an SSHSIG in our namespace; nothing in it is verified but its form."""

    key: PublicKey
    algorithm: str
    """Hash of the message: sha512 or sha256."""
    signature: bytes
    """Signature in the form of the key's carrier, its type first."""

    @property
    def armored(self) -> str:
        """The armored form."""
        fields = (self.key.blob, NAMESPACE.encode(), b"", self.algorithm.encode(), self.signature)
        return armor(_MAGIC + _VERSION + b"".join(map(string, fields)))

    @classmethod
    def parse(cls, armored: str) -> Envelope:
        """Parse an armored signature; raise Refused for another version, namespace, hash or key type."""
        reader = Reader(dearmor(armored))
        if reader.take(len(_MAGIC)) != _MAGIC or reader.take(4) != _VERSION:
            raise Refused("not an SSHSIG of version 1")
        key = PublicKey.from_blob(reader.string())
        namespace, reserved, algorithm, signature = reader.string(), reader.string(), reader.string().decode(errors="replace"), reader.string()
        reader.end()
        if namespace != NAMESPACE.encode():
            raise Refused("signature is for another purpose (namespace)", value=namespace.decode(errors="replace")[:60], allowed=NAMESPACE)
        if reserved or algorithm not in _HASHES:
            raise Refused("signature uses an unknown hash or extension", value=algorithm[:20], allowed=", ".join(_HASHES))
        return cls(key, algorithm, signature)

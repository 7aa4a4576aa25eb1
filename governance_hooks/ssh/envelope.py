"""The SSHSIG envelope: armor, fields, and the bytes a key signs.  Source: OpenSSH PROTOCOL.sshsig."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from governance_hooks.errors import Refused
from governance_hooks.sentence import Sentence
from governance_hooks.ssh.publickey import PublicKey
from governance_hooks.ssh.wire import Reader, decode_base64, encode_base64, string

__all__ = ["NAMESPACE", "Envelope", "armor", "dearmor", "to_be_signed"]

NAMESPACE = "coop-statement@v1"
"""Domain separation: a signature made for git or for files never counts as a statement."""

_MAGIC = b"SSHSIG"
_VERSION = struct.pack(">I", 1)
_HASHES = {"sha512": hashlib.sha512, "sha256": hashlib.sha256}
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_FIRST, _LAST = f"{_BEGIN}\n", f"\n{_END}\n"

_BEFORE_HASH = {
    name: _MAGIC + string(NAMESPACE.encode()) + string(b"") + string(name.encode()) + struct.pack(">I", make().digest_size) for name, make in _HASHES.items()
}


def to_be_signed(message: bytes, algorithm: str) -> bytes:
    """Return SSHSIG's "blob to be signed" for `sha512` or `sha256`; for a passkey this is the WebAuthn challenge."""
    return _BEFORE_HASH[algorithm] + _HASHES[algorithm](message).digest()


def armor(blob: bytes) -> str:
    """Return the armored form, 70 columns a line as ssh-keygen writes it."""
    text = encode_base64(blob)
    return _FIRST + "\n".join([text[i : i + 70] for i in range(0, len(text), 70)]) + _LAST


def dearmor(text: str) -> bytes:
    """Return the bytes inside an armored signature; refuse any other spelling of the same bytes."""
    if not text.startswith(_FIRST) or not text.endswith(_LAST) or len(text) <= len(_FIRST) + len(_LAST):
        raise Refused(Sentence("not an armored SSH signature"), value=text[:40], allowed=f"{_BEGIN} ... {_END}")
    inside = text[len(_FIRST) : -len(_LAST)]
    blob, breaks = decode_base64(inside.replace("\n", "")), len(inside) // 71
    if inside[70::71] != "\n" * breaks or inside.count("\n") != breaks or inside[-1] == "\n":
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
    def blob(self) -> bytes:
        """The wire form."""
        fields = (self.key.blob, NAMESPACE.encode(), b"", self.algorithm.encode(), self.signature)
        return _MAGIC + _VERSION + b"".join(map(string, fields))

    @property
    def armored(self) -> str:
        """The armored form."""
        return armor(self.blob)

    @classmethod
    def parse(cls, armored: str) -> Envelope:
        """Parse an armored signature; raise Refused for another version, namespace, hash or key type."""
        return cls.from_blob(dearmor(armored))

    @classmethod
    def from_blob(cls, blob: bytes) -> Envelope:
        """Parse what was inside an armor; see `parse`."""
        reader = Reader(blob)
        if reader.take(len(_MAGIC)) != _MAGIC or reader.take(4) != _VERSION:
            raise Refused("not an SSHSIG of version 1")
        key = PublicKey.from_blob(reader.string())
        namespace, reserved, algorithm, signature = reader.string(), reader.string(), reader.string().decode(errors="replace"), reader.string()
        reader.end()
        if namespace != NAMESPACE.encode():
            raise Refused(Sentence("signature is for another purpose (namespace)"), value=namespace.decode(errors="replace")[:60], allowed=NAMESPACE)
        if reserved or algorithm not in _HASHES:
            raise Refused("signature uses an unknown hash or extension", value=algorithm[:20], allowed=", ".join(_HASHES))
        return cls(key, algorithm, signature)

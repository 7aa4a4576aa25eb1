"""OpenSSH signatures (SSHSIG): the one signature carrier of this house.

`ssh-keygen -Y sign -n coop-statement@v1` makes what we accept, and `ssh-keygen -Y verify` accepts what we make.
Source: OpenSSH PROTOCOL.sshsig; key blobs as in RFC 4253 section 6.6 and RFC 8709. Here: ssh-ed25519 keys.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from governance_hooks.atomic import write_bytes
from governance_hooks.errors import BadInput, Refused

__all__ = ["NAMESPACE", "PrivateKey", "PublicKey", "armor", "dearmor", "generate_key", "load_private_key", "load_public_key", "signer_of", "verify"]

NAMESPACE = "coop-statement@v1"
"""Domain separation: a signature made for git or for files never counts as a statement."""

_MAGIC = b"SSHSIG"
_HASHES = ("sha512", "sha256")
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_ED25519 = b"ssh-ed25519"


class _Reader:
    """Reads SSH wire strings and refuses truncated or trailing bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise Refused("signature or key is truncated")
        self.at += count
        return self.data[self.at - count : self.at]

    def string(self) -> bytes:
        return self.take(struct.unpack(">I", self.take(4))[0])

    def end(self) -> None:
        if self.at != len(self.data):
            raise Refused("signature or key has trailing bytes")


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An ed25519 public key; two keys are the same if their 32 raw bytes are, whatever they are called."""

    raw: bytes

    @property
    def blob(self) -> bytes:
        """The SSH wire form."""
        return _string(_ED25519) + _string(self.raw)

    @property
    def line(self) -> str:
        """The form of an authorized_keys line, without a comment."""
        return "ssh-ed25519 " + base64.b64encode(self.blob).decode()

    @property
    def fingerprint(self) -> str:
        """`SHA256:...` as `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @classmethod
    def from_blob(cls, blob: bytes) -> PublicKey:
        """Parse the SSH wire form; raise Refused for another key type."""
        reader = _Reader(blob)
        kind = reader.string()
        if kind != _ED25519:
            raise Refused("key type is not supported", value=kind.decode(errors="replace")[:60], allowed="ssh-ed25519")
        raw = reader.string()
        reader.end()
        if len(raw) != 32:
            raise Refused("ed25519 key is not 32 bytes")
        return cls(raw)

    @classmethod
    def from_line(cls, line: str) -> PublicKey:
        """Parse `ssh-ed25519 AAAA... [comment]`."""
        parts = line.split()
        if len(parts) < 2:
            raise BadInput("not an OpenSSH public key line", value=line[:60], allowed="ssh-ed25519 AAAA... [comment]")
        return cls.from_blob(_decode(parts[1]))


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An ed25519 signing key of a member or of the operator."""

    _key: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """The public half."""
        raw = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return PublicKey(raw)

    def sign(self, message: bytes) -> str:
        """Return an armored SSHSIG over `message` in our namespace."""
        signature = _string(_ED25519) + _string(self._key.sign(_to_be_signed(message, "sha512")))
        body = struct.pack(">I", 1) + _string(self.public.blob) + _string(NAMESPACE.encode()) + _string(b"") + _string(b"sha512") + _string(signature)
        return armor(_MAGIC + body)


def _to_be_signed(message: bytes, algorithm: str) -> bytes:
    return _MAGIC + _string(NAMESPACE.encode()) + _string(b"") + _string(algorithm.encode()) + _string(hashlib.new(algorithm, message).digest())


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("not base64", value=text[:40]) from error
    if base64.b64encode(data).decode() != text:  # stray bits after the last byte would give one signature many spellings
        raise Refused("base64 is not in its only canonical form", value=text[-8:])
    return data


def armor(blob: bytes) -> str:
    """Return the armored form, 70 columns a line as ssh-keygen writes it."""
    text = base64.b64encode(blob).decode()
    return "\n".join([_BEGIN, *(text[i : i + 70] for i in range(0, len(text), 70)), _END, ""])


def dearmor(text: str) -> bytes:
    """Return the bytes inside an armored signature; refuse any other spelling of the same bytes."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[0] != _BEGIN or lines[-2] != _END or lines[-1] != "":
        raise Refused("not an armored SSH signature", value=text[:40], allowed=f"{_BEGIN} ... {_END}")
    blob = _decode("".join(lines[1:-2]))
    if armor(blob) != text:
        raise Refused("armored signature is not in its canonical form")
    return blob


def signer_of(armored: str) -> PublicKey:
    """Return the public key inside a signature, unverified: use it only to look up who may sign."""
    reader = _Reader(dearmor(armored))
    reader.take(len(_MAGIC) + 4)
    return PublicKey.from_blob(reader.string())


def verify(armored: str, message: bytes) -> PublicKey:
    """Check an armored signature over `message` in our namespace and return the key that made it.

    Raises:
        Refused: wrong namespace, hash, key type, version, or the signature does not verify.
    """
    reader = _Reader(dearmor(armored))
    if reader.take(len(_MAGIC)) != _MAGIC or reader.take(4) != struct.pack(">I", 1):
        raise Refused("not an SSHSIG of version 1")
    key = PublicKey.from_blob(reader.string())
    namespace, reserved, algorithm = reader.string(), reader.string(), reader.string().decode(errors="replace")
    signature = _Reader(reader.string())
    reader.end()
    if namespace != NAMESPACE.encode():
        raise Refused("signature is for another purpose (namespace)", value=namespace.decode(errors="replace")[:60], allowed=NAMESPACE)
    if reserved or algorithm not in _HASHES:
        raise Refused("signature uses an unknown hash or extension", value=algorithm[:20], allowed="sha512, sha256")
    kind, raw = signature.string(), signature.string()
    signature.end()
    if kind != _ED25519:
        raise Refused("signature type does not match the key", value=kind.decode(errors="replace")[:60])
    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(raw, _to_be_signed(message, algorithm))
    except InvalidSignature as error:
        raise Refused("signature does not verify: the statement or the signature was changed", value=key.fingerprint) from error
    return key


def generate_key(path: Path, *, comment: str = "") -> PrivateKey:
    """Create an OpenSSH key pair at `path` (mode 0600) and `path.pub`; refuse to overwrite one."""
    if path.exists():
        raise BadInput(f"{path} exists already", next="choose another path, or use the key that is there")
    key = PrivateKey(Ed25519PrivateKey.generate())
    private = key._key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    write_bytes(path, private, mode=0o600)
    write_bytes(path.with_name(path.name + ".pub"), f"{key.public.line} {comment}".strip().encode() + b"\n")
    return key


def load_private_key(path: Path, *, passphrase: bytes | None = None) -> PrivateKey:
    """Read an OpenSSH private key file; raise BadInput for one that is absent, locked, too open, or not ed25519."""
    try:
        data = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise BadInput(f"cannot read key {path}: {error.strerror}", next=f"ssh-keygen -t ed25519 -f {path}") from error
    if os.name == "posix" and mode & 0o077:
        raise BadInput(f"key {path} can be read by others", value=oct(mode & 0o777), allowed="0o600", next=f"chmod 600 {path}")
    try:
        key = serialization.load_ssh_private_key(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadInput(f"cannot use key {path}: {error}", allowed="an unencrypted OpenSSH ed25519 key, or the right COOP_KEY_PASSPHRASE") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(f"key {path} is not ed25519", value=type(key).__name__, allowed="ssh-ed25519", next="ssh-keygen -t ed25519")
    return PrivateKey(key)


def load_public_key(path: Path) -> PublicKey:
    """Read an OpenSSH public key file (`.pub`)."""
    try:
        return PublicKey.from_line(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read public key {path}: {error}") from error

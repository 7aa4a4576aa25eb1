"""Private keys in files: OpenSSH ed25519, made, read and used here; FIDO keys and passkeys sign where they live."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance_hooks.atomic import write_bytes
from governance_hooks.errors import BadInput, Refused
from governance_hooks.ssh.envelope import Envelope, to_be_signed
from governance_hooks.ssh.publickey import ED25519, PublicKey
from governance_hooks.ssh.wire import string

__all__ = ["KeyElsewhere", "PrivateKey", "Signer", "generate_key", "load_private_key", "load_public_key"]


class Signer(Protocol):
    """Whatever signs statements."""

    @property
    def public(self) -> PublicKey:
        """The public half."""
        ...

    def sign(self, message: bytes) -> str:
        """Return an armored SSHSIG over `message` in our namespace."""
        ...


@dataclass(frozen=True, slots=True)
class KeyElsewhere:
    """A key that signs where it lives: a FIDO key, a passkey, another machine. Here it only says whose draft this is."""

    public: PublicKey

    def sign(self, message: bytes) -> str:
        """Refuse, and say how to sign there."""
        raise BadInput(
            "this key signs elsewhere",
            value=self.public.fingerprint,
            next="write the statement with --draft FILE, sign it there (ssh-keygen -Y sign -n coop-statement@v1 -f KEY FILE), then: coop append FILE",
        )


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An ed25519 signing key of a member or of the operator."""

    _key: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(ED25519, self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))

    def sign(self, message: bytes) -> str:
        """Return an armored SSHSIG over `message` in our namespace."""
        signature = string(ED25519.encode()) + string(self._key.sign(to_be_signed(message, "sha512")))
        return Envelope(self.public, "sha512", signature).armored

    def sign_plain(self, message: bytes) -> bytes:
        """Return the bare Ed25519 signature (64 bytes) over a message of another format: a DSSE envelope, TUF metadata.

        What SSH signs begins with `SSHSIG`, with the length of a session id (RFC 4252) or of an agent's blob, so neither a statement nor a
        login is ever a message of these formats, which begin with `DSSEv1 ` or `{`; anything else is refused.

        Raises:
            Refused: the message could be read as something else.
        """
        if not message.startswith((b"DSSEv1 ", b"{")):
            raise Refused("bytes like these are not signed without a namespace", value=message[:16], allowed="a DSSE envelope, or a JSON object of TUF")
        return self._key.sign(message)


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
        raise BadInput(
            f"cannot use key {path}: {error}", allowed="an OpenSSH ed25519 key, and COOP_KEY_PASSPHRASE if it has one; of a FIDO key its .pub, with --draft"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(f"key {path} is not ed25519", value=type(key).__name__, allowed="ssh-ed25519", next="ssh-keygen -t ed25519")
    return PrivateKey(key)


def load_public_key(path: Path) -> PublicKey:
    """Read an OpenSSH public key file (`.pub`)."""
    try:
        return PublicKey.from_line(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read public key {path}: {error}") from error

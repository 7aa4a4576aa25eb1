"""OpenSSH signatures (SSHSIG): the one verifier for every kind of key a member may hold.

`ssh-keygen -Y sign -n coop-statement@v1` makes what we accept, and `ssh-keygen -Y verify` accepts what we make.
Sources: OpenSSH PROTOCOL.sshsig and PROTOCOL.u2f; RFC 8709; W3C Web Authentication. Carriers: ssh-ed25519,
sk-ssh-ed25519 and sk-ecdsa (FIDO keys of OpenSSH), webauthn-sk-ecdsa (passkeys).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from governance_hooks.errors import Refused
from governance_hooks.ssh.envelope import NAMESPACE, Envelope, armor, dearmor, to_be_signed
from governance_hooks.ssh.passkey import WEBAUTHN_ECDSA, WebOrigin, check_client_data, check_flags, passkey_signature
from governance_hooks.ssh.privatekey import KeyElsewhere, PrivateKey, Signer, generate_key, load_private_key, load_public_key
from governance_hooks.ssh.publickey import ED25519, KINDS, SK_ECDSA, PublicKey
from governance_hooks.ssh.wire import Reader

__all__ = [
    "KINDS",
    "NAMESPACE",
    "KeyElsewhere",
    "PrivateKey",
    "PublicKey",
    "Signer",
    "Verified",
    "WebOrigin",
    "armor",
    "check",
    "dearmor",
    "generate_key",
    "load_private_key",
    "load_public_key",
    "passkey_signature",
    "signer_of",
    "to_be_signed",
    "verify",
]


@dataclass(frozen=True, slots=True)
class Verified:
    """A signature that verifies: its key, and where a passkey signed."""

    key: PublicKey
    origin: WebOrigin | None
    """None for keys that are not passkeys. Whether a cooperative accepts the origin is the register's question."""


def signer_of(armored: str) -> PublicKey:
    """Return the public key inside a signature, unverified: use it only to look up who may sign."""
    return Envelope.parse(armored).key


def verify(armored: str, message: bytes) -> PublicKey:
    """Check an armored signature over `message` in our namespace and return the key that made it; `check` says where, too."""
    return check(armored, message).key


def check(armored: str, message: bytes) -> Verified:
    """Check an armored signature over `message` in our namespace.

    Raises:
        Refused: wrong namespace, hash, key type or version, a FIDO key nobody touched, a passkey that signed something
            else or did not verify its user, or a signature that does not verify.
    """
    envelope = Envelope.parse(armored)
    key, signed, reader = envelope.key, to_be_signed(message, envelope.algorithm), Reader(envelope.signature)
    kind, raw = reader.string().decode("ascii", errors="replace"), reader.string()
    expected = WEBAUTHN_ECDSA if key.passkey else key.kind
    if kind != expected:
        raise Refused("signature type does not match the key", value=kind[:60], allowed=expected)
    origin = None
    if key.kind != ED25519:
        signed, origin = _authenticator_bytes(key, signed, reader)
    reader.end()
    try:
        if key.kind == SK_ECDSA:
            numbers = Reader(raw)
            r, s = numbers.mpint(), numbers.mpint()
            numbers.end()
            EllipticCurvePublicKey.from_encoded_point(SECP256R1(), key.point).verify(encode_dss_signature(r, s), signed, ECDSA(SHA256()))
        else:
            Ed25519PublicKey.from_public_bytes(key.point).verify(raw, signed)
    except InvalidSignature as error:
        raise Refused("signature does not verify: the statement or the signature was changed", value=key.fingerprint) from error
    return Verified(key, origin)


def _authenticator_bytes(key: PublicKey, challenge: bytes, reader: Reader) -> tuple[bytes, WebOrigin | None]:
    """Return what a FIDO authenticator signed, after checking what it and the browser say about it."""
    flags, counter = reader.take(1), reader.take(4)
    extensions, signed, origin = b"", challenge, None
    if key.passkey:
        named, signed, extensions = reader.string().decode("ascii", errors="replace"), reader.string(), reader.string()
        check_client_data(signed, challenge, named)
        origin = WebOrigin(named, key.application)
    check_flags(flags[0], extensions, verified=key.passkey)
    return hashlib.sha256(key.application.encode()).digest() + flags + counter + extensions + hashlib.sha256(signed).digest(), origin

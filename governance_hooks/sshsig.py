"""OpenSSH signatures (SSHSIG): the one verifier for every kind of key a member may hold.

`ssh-keygen -Y sign -n coop-statement@v1` makes what we accept, and `ssh-keygen -Y verify` accepts what we make.
Sources: OpenSSH PROTOCOL.sshsig and PROTOCOL.u2f; RFC 8709; W3C Web Authentication. Carriers: ssh-ed25519,
sk-ssh-ed25519 and sk-ecdsa (FIDO keys of OpenSSH), webauthn-sk-ecdsa (passkeys), and webauthn-rs256 (passkeys of machines that make
RSA only), which alone `ssh-keygen` does not know.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from governance_hooks.ed25519 import verifies
from governance_hooks.errors import Refused
from governance_hooks.sentence import Sentence
from governance_hooks.ssh.envelope import NAMESPACE, Envelope, armor, dearmor, to_be_signed
from governance_hooks.ssh.passkey import WEBAUTHN_ECDSA, WebOrigin, check_client_data, check_flags, passkey_signature
from governance_hooks.ssh.privatekey import KeyElsewhere, PrivateKey, Signer, generate_key, load_private_key, load_public_key
from governance_hooks.ssh.publickey import ED25519, KINDS, SK_ECDSA, PublicKey
from governance_hooks.ssh.wire import Reader, string

__all__ = [
    "KINDS",
    "NAMESPACE",
    "Claim",
    "Equation",
    "KeyElsewhere",
    "PrivateKey",
    "PublicKey",
    "Signer",
    "WebOrigin",
    "all_hold",
    "armor",
    "check",
    "claim",
    "dearmor",
    "generate_key",
    "holds",
    "load_private_key",
    "load_public_key",
    "passkey_signature",
    "require",
    "to_be_signed",
    "verify",
]

# The layout of an ssh-ed25519 signature, which nearly all are: only the key and the last 64 bytes differ from this one.
_KEY = (2).to_bytes(32, "little")  # any key will do
_LAYOUT = Envelope(PublicKey(ED25519, _KEY), "sha512", string(ED25519.encode()) + string(bytes(64))).blob
_BEFORE_KEY, _AFTER_KEY = _LAYOUT[:-64].split(_KEY)
_KEY_AT, _KEY_END = len(_BEFORE_KEY), len(_BEFORE_KEY) + 32


@lru_cache(maxsize=1 << 14)
def _ed25519(point: bytes) -> PublicKey:
    return PublicKey(ED25519, point)


class Claim(NamedTuple):
    """What a well-formed signature says before the arithmetic: this key made `signature` over `signed`."""

    key: PublicKey
    signature: bytes
    """64 bytes of Ed25519, ECDSA in DER, or RSA PKCS #1 v1.5."""
    signed: bytes
    origin: WebOrigin | None
    """Where a passkey signed; None for other keys. Whether a cooperative accepts it is the register's question."""

    @property
    def equation(self) -> Equation:
        """The arithmetic that is left to do."""
        return self.key.point, self.signature, self.signed


Equation = tuple[bytes, bytes, bytes]
"""Point of a key, signature, and the bytes signed: all that another process needs."""


def holds(point: bytes, signature: bytes, signed: bytes) -> bool:
    """Tell whether the key with this point (32 bytes: Ed25519, 65 bytes: P-256, more: RSA) made the signature over the bytes."""
    if len(point) == 32:
        return verifies(point, signature, signed)
    try:
        if len(point) == 65:
            EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point).verify(signature, signed, ECDSA(SHA256()))
        else:
            numbers = Reader(point)
            RSAPublicNumbers(numbers.mpint(), numbers.mpint()).public_key().verify(signature, signed, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def all_hold(batch: list[list[Equation]]) -> list[bool]:
    """Tell of each list of equations whether all of them hold."""
    return [all(holds(*one) for one in equations) for equations in batch]


def verify(armored: str, message: bytes) -> PublicKey:
    """Check an armored signature over `message` in our namespace and return the key that made it; `check` says where, too."""
    return check(armored, message).key


def check(armored: str, message: bytes) -> Claim:
    """Check an armored signature over `message` in our namespace: its form, then the arithmetic.

    Raises:
        Refused: what `claim` refuses, or a signature that does not verify.
    """
    return require(claim(armored, message))


def require(made: Claim) -> Claim:
    """Return a claim whose signature verifies; raise Refused for any other."""
    if not holds(*made.equation):
        raise Refused(Sentence("signature does not verify: the statement or the signature was changed"), value=made.key.fingerprint)
    return made


def claim(armored: str, message: bytes) -> Claim:
    """Read an armored signature over `message` in our namespace and check everything about it but the arithmetic.

    Raises:
        Refused: wrong namespace, hash, key type or version, a FIDO key nobody touched, a passkey that signed something
            else or did not verify its user.
    """
    blob = dearmor(armored)
    if len(blob) == len(_LAYOUT) and blob.startswith(_BEFORE_KEY) and blob.startswith(_AFTER_KEY, _KEY_END):
        return Claim(_ed25519(blob[_KEY_AT:_KEY_END]), blob[-64:], to_be_signed(message, "sha512"), None)
    envelope = Envelope.from_blob(blob)
    key, signed, reader = envelope.key, to_be_signed(message, envelope.algorithm), Reader(envelope.signature)
    kind, raw = reader.string().decode("ascii", errors="replace"), reader.string()
    expected = WEBAUTHN_ECDSA if key.passkey and key.kind == SK_ECDSA else key.kind
    if kind != expected:
        raise Refused("signature type does not match the key", value=kind[:60], allowed=expected)
    origin = None
    if key.kind != ED25519:
        signed, origin = _authenticator_bytes(key, signed, reader)
    reader.end()
    if key.kind == SK_ECDSA:
        numbers = Reader(raw)
        r, s = numbers.mpint(), numbers.mpint()
        numbers.end()
        raw = encode_dss_signature(r, s)
    return Claim(key, raw, signed, origin)


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

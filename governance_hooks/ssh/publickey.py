"""Public keys of members: ssh-ed25519, the two FIDO types of OpenSSH, and passkeys, which are FIDO keys of a web domain.

OpenSSH has no form for the RSA passkeys some older machines make (COSE RS256), so they have a type of our own, `webauthn-rs256`.
Sources: RFC 4253 section 6.6, RFC 8709, RFC 8812, OpenSSH PROTOCOL.u2f.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from governance_hooks.errors import BadInput, Refused
from governance_hooks.sentence import Sentence
from governance_hooks.ssh.wire import Reader, decode_base64, mpint, string

__all__ = ["ED25519", "KINDS", "RS256", "SK_ECDSA", "SK_ED25519", "PublicKey"]

ED25519 = "ssh-ed25519"
SK_ED25519 = "sk-ssh-ed25519@openssh.com"
SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
RS256 = "webauthn-rs256"
KINDS = (ED25519, SK_ED25519, SK_ECDSA, RS256)
"""Key types that may sign statements."""

_CURVE = b"nistp256"
_SSH_APPLICATION = re.compile(r"^ssh:[!-~]{0,60}$")
_RP_ID = re.compile(r"^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$")
_SMALL_PRIMES = math.prod(n for n in range(2, 1000) if all(n % divisor for divisor in range(2, math.isqrt(n) + 1)))
_P = 2**255 - 19
# y of the points of order 1, 2, 4 and 8: for such a "key" anybody can make signatures (RFC 8032 leaves the check to us).
_SMALL_ORDER = {
    0,
    1,
    _P - 1,
    2707385501144840649318225287225658788936804267575313519463743609750303402022,
    55188659117513257062467267217118295137698188065244968500265048394206261417927,
}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key; two keys are the same if their `raw` identity is, whatever they are called."""

    kind: str
    point: bytes
    """32 bytes of Ed25519, the 65 bytes of an uncompressed P-256 point, or exponent and modulus of RSA as SSH writes them (RFC 4253)."""
    application: str = ""
    """FIDO keys: `ssh:...` for a key of OpenSSH, else the WebAuthn relying party id (a domain) of a passkey."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise Refused(Sentence("key type is not supported"), value=self.kind[:60], allowed=", ".join(KINDS))
        check = {SK_ECDSA: _check_p256, RS256: _check_rsa}.get(self.kind, _check_ed25519)
        check(self.point)
        if self.kind == ED25519 and self.application:
            raise Refused("a plain key has no application", value=self.application[:80])
        # A browser makes no Ed25519 signature that OpenSSH has a form for: a domain goes with P-256 and RSA only, and RSA with nothing else.
        if self.kind != ED25519 and not self.passkey and (self.kind == RS256 or not _SSH_APPLICATION.fullmatch(self.application)):
            raise Refused("application of a FIDO key is malformed", value=self.application[:80], allowed="ssh:... or, for a passkey, its domain")

    @property
    def passkey(self) -> bool:
        """Whether this is the key of a passkey: it signs in a browser, for a domain, and in no other way."""
        return self.kind in (SK_ECDSA, RS256) and bool(_RP_ID.fullmatch(self.application))

    @property
    def raw(self) -> bytes:
        """The identity thresholds count: the 32 bytes of an ssh-ed25519 key; for others the whole blob: type, point and application."""
        return self.point if self.kind == ED25519 else self.blob

    @property
    def blob(self) -> bytes:
        """The SSH wire form."""
        curve = string(_CURVE) if self.kind == SK_ECDSA else b""
        application = b"" if self.kind == ED25519 else string(self.application.encode())
        point = self.point if self.kind == RS256 else string(self.point)
        return string(self.kind.encode()) + curve + point + application

    @property
    def line(self) -> str:
        """The form of an authorized_keys line, without a comment."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """`SHA256:...` as `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @classmethod
    def from_blob(cls, blob: bytes) -> PublicKey:
        """Parse the SSH wire form; raise Refused for another key type or a malformed key."""
        reader = Reader(blob)
        kind = reader.string().decode("ascii", errors="replace")
        if kind not in KINDS:
            raise Refused(Sentence("key type is not supported"), value=kind[:60], allowed=", ".join(KINDS))
        if kind == SK_ECDSA and reader.string() != _CURVE:
            raise Refused("curve of the key is not supported", allowed=_CURVE.decode())
        point = mpint(reader.mpint()) + mpint(reader.mpint()) if kind == RS256 else reader.string()
        application = "" if kind == ED25519 else reader.string().decode("ascii", errors="replace")
        reader.end()
        return cls(kind, point, application)

    @classmethod
    def from_line(cls, line: str) -> PublicKey:
        """Parse `TYPE AAAA... [comment]`."""
        parts = line.split()
        if len(parts) < 2:
            raise BadInput(Sentence("not an OpenSSH public key line"), value=line[:60], allowed="ssh-ed25519 AAAA... [comment]")
        key = cls.from_blob(decode_base64(parts[1]))
        if parts[0] != key.kind:
            raise Refused("key line names another type than the key has", value=parts[0][:60], allowed=key.kind)
        return key

    @classmethod
    def from_raw(cls, raw: bytes) -> PublicKey:
        """Return the key with this identity."""
        return cls(ED25519, raw) if len(raw) == 32 else cls.from_blob(raw)


def _check_ed25519(point: bytes) -> None:
    if len(point) != 32:
        raise Refused("ed25519 key is not 32 bytes", value=len(point))
    y = int.from_bytes(point, "little") & (2**255 - 1)
    if y >= _P or y in _SMALL_ORDER:
        raise Refused("ed25519 key is a point of small order or not in its canonical form", value=point.hex())


def _check_p256(point: bytes) -> None:
    if len(point) != 65 or point[0] != 4:  # the compressed form would give one key two identities
        raise Refused("P-256 key is not an uncompressed point of 65 bytes", value=point[:1].hex())
    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
    except ValueError as error:
        raise Refused("P-256 key is not a point of the curve", value=point.hex()[:40]) from error


def _check_rsa(point: bytes) -> None:
    reader = Reader(point)
    exponent, modulus = reader.mpint(), reader.mpint()
    reader.end()
    if exponent != 65_537 or not 2048 <= modulus.bit_length() <= 4096:
        raise Refused("RSA key is not of exponent 65537 and 2048 to 4096 bits", value=(exponent % 10**6, modulus.bit_length()))
    if math.gcd(modulus, _SMALL_PRIMES) != 1:
        raise Refused("RSA modulus has a small factor: anybody could sign with this key", value=modulus.bit_length())

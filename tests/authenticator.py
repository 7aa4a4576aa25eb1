"""A software authenticator: what a FIDO key of OpenSSH and a browser with a passkey would answer, and what a bad one might."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from governance_hooks.ssh.envelope import Envelope
from governance_hooks.ssh.publickey import RS256, SK_ECDSA, SK_ED25519
from governance_hooks.ssh.wire import mpint, string
from governance_hooks.sshsig import PublicKey, passkey_signature, to_be_signed

ORIGIN, RP_ID = "https://sign.village.example", "sign.village.example"
UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80


class SecurityKey:
    """An OpenSSH FIDO key, Ed25519 or P-256."""

    def __init__(self, kind: str, application: str = "ssh:") -> None:
        self.kind, self.application = kind, application
        self.key: Ed25519PrivateKey | EllipticCurvePrivateKey
        if kind == SK_ED25519:
            self.key = Ed25519PrivateKey.generate()
            self.point = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        else:
            self.key = generate_private_key(SECP256R1())
            self.point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.kind, self.point, self.application)

    def touch(self, data: bytes) -> bytes:
        """The raw signature: Ed25519, or ECDSA in DER."""
        return self.key.sign(data) if isinstance(self.key, Ed25519PrivateKey) else self.key.sign(data, ECDSA(SHA256()))

    def sign(self, message: bytes, *, flags: int = UP, counter: int = 7, hashed: str = "sha512") -> str:
        signed = hashlib.sha256(to_be_signed(message, hashed)).digest()
        tail = bytes([flags]) + struct.pack(">I", counter)
        raw = self.touch(hashlib.sha256(self.application.encode()).digest() + tail + signed)
        if self.kind == SK_ECDSA:
            r, s = decode_dss_signature(raw)
            raw = mpint(r) + mpint(s)
        return Envelope(self.public, hashed, string(self.kind.encode()) + string(raw) + tail).armored


class RsaKey:
    """What a machine holds that makes RSA passkeys only."""

    kind = RS256

    def __init__(self, rp_id: str, bits: int = 2048, exponent: int = 65_537) -> None:
        self.application, self.key = rp_id, rsa.generate_private_key(exponent, bits)
        numbers = self.key.public_key().public_numbers()
        self.point = mpint(numbers.e) + mpint(numbers.n)

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.kind, self.point, self.application)

    def touch(self, data: bytes) -> bytes:
        return self.key.sign(data, PKCS1v15(), SHA256())


class Passkey(SecurityKey):
    """A passkey and the browser in front of it."""

    def __init__(self, rp_id: str = RP_ID) -> None:
        super().__init__(SK_ECDSA, rp_id)

    def assertion(self, client_data: bytes, *, flags: int = UP | UV, extensions: bytes = b"", rp_id: str | None = None) -> str:
        """Sign client data and wrap the answer as the portal does."""
        data = hashlib.sha256((rp_id or self.application).encode()).digest() + bytes([flags]) + struct.pack(">I", 0) + extensions
        return passkey_signature(self.public, data, client_data, self.touch(data + hashlib.sha256(client_data).digest()))

    def client_data(self, message: bytes, **changes: Any) -> bytes:
        challenge = base64.urlsafe_b64encode(to_be_signed(message, "sha256")).decode().rstrip("=")
        value = {"type": "webauthn.get", "challenge": challenge, "origin": ORIGIN, "crossOrigin": False} | changes
        return json.dumps({k: v for k, v in value.items() if v is not None}, separators=(",", ":")).encode()

    def sign(self, message: bytes, *, flags: int = UP | UV, extensions: bytes = b"", rp_id: str | None = None, **changes: Any) -> str:  # type: ignore[override]
        return self.assertion(self.client_data(message, **changes), flags=flags, extensions=extensions, rp_id=rp_id)


class RsaPasskey(RsaKey, Passkey):  # type: ignore[misc]
    """A passkey with an RSA key, and the browser in front of it."""

    def __init__(self, rp_id: str = RP_ID) -> None:
        RsaKey.__init__(self, rp_id)

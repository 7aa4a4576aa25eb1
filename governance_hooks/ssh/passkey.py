"""Passkeys: WebAuthn assertions whose challenge is the SSHSIG blob, carried as OpenSSH's webauthn signature type.

Sources: OpenSSH PROTOCOL.u2f ("webauthn-sk-ecdsa-sha2-nistp256@openssh.com"); W3C Web Authentication, sections 5.8.1,
6.1 and 7.2. A passkey counter says nothing about a statement and is ignored: synced passkeys report 0 for ever.
"""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple, NoReturn

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from governance_hooks.errors import Refused
from governance_hooks.sentence import Sentence
from governance_hooks.ssh.envelope import Envelope
from governance_hooks.ssh.publickey import RS256, PublicKey
from governance_hooks.ssh.wire import mpint, string

__all__ = ["WEBAUTHN_ECDSA", "WebOrigin", "check_client_data", "check_flags", "passkey_signature"]

WEBAUTHN_ECDSA = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"

_PRESENT, _VERIFIED, _ELIGIBLE, _BACKED_UP, _ATTESTED, _EXTENDED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
_CBOR_MAP = 5


class WebOrigin(NamedTuple):
    """Where a passkey signed: the page's origin, and the relying party id its key belongs to."""

    origin: str
    rp_id: str


def check_flags(flags: int, extensions: bytes, *, verified: bool) -> None:
    """Check the flags of authenticator data; raise Refused for one that forbids use as a statement.

    Args:
        flags: the flags byte.
        extensions: extension data that follows it, empty for none.
        verified: whether user verification (PIN, fingerprint) is required on top of presence (touch).
    """
    if not flags & _PRESENT:
        raise Refused(Sentence("nobody touched the key (user presence is missing)"), value=hex(flags))
    if verified and not flags & _VERIFIED:
        raise Refused(Sentence("the passkey did not verify its user (PIN or biometry)"), value=hex(flags), next="sign with user verification: required")
    if flags & _ATTESTED:
        raise Refused("an assertion carries no attested credential data", value=hex(flags))
    if bool(flags & _EXTENDED) != bool(extensions) or (extensions and extensions[0] >> 5 != _CBOR_MAP):
        raise Refused("extension data does not match the flags", value=hex(flags))
    if flags & _BACKED_UP and not flags & _ELIGIBLE:
        raise Refused("flags say backed up but not eligible for backup", value=hex(flags))


def check_client_data(data: bytes, challenge: bytes, origin: str) -> None:
    """Check what the browser says it signed; raise Refused unless it is our challenge, at this origin, in no foreign frame."""

    def refuse(what: str, value: object = None) -> NoReturn:
        raise Refused(f"client data of the passkey: {what}", value=value)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(items)) != len(items):
            refuse("duplicate key")
        return dict(items)

    try:
        value = json.loads(data.decode(), object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        refuse(f"not JSON in UTF-8 ({error})")
    if not isinstance(value, dict):
        refuse("not an object")
    if value.get("type") != "webauthn.get":
        refuse("not an assertion", value.get("type"))
    if value.get("challenge") != base64.urlsafe_b64encode(challenge).decode().rstrip("="):
        refuse("the challenge is not this statement")
    if value.get("origin") != origin:
        refuse("another origin than the signature names", value.get("origin"))
    if value.get("crossOrigin", False) is not False or "topOrigin" in value:
        refuse("signed inside a frame of another site", value.get("topOrigin"))


def passkey_signature(key: PublicKey, authenticator_data: bytes, client_data: bytes, signature: bytes) -> str:
    """Return the armored SSHSIG of a browser's assertion; nothing but its form is checked here.

    Args:
        key: the passkey's public key.
        authenticator_data: `response.authenticatorData`: 32 bytes of RP id hash, flags, counter, extensions.
        client_data: `response.clientDataJSON`, verbatim; its challenge is `to_be_signed(message, "sha256")`.
        signature: `response.signature`, ECDSA in DER, or RSA for a key of RS256.

    Raises:
        Refused: the parts do not have the form of an assertion.
    """
    if len(authenticator_data) < 37:
        raise Refused("authenticator data is truncated", value=len(authenticator_data))
    try:
        carried = string(RS256.encode()) + string(signature) if key.kind == RS256 else string(WEBAUTHN_ECDSA.encode()) + string(_numbers(signature))
        origin = json.loads(client_data.decode())["origin"].encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(f"assertion is malformed: {error}") from error
    parts = carried + authenticator_data[32:37]
    return Envelope(key, "sha256", parts + string(origin) + string(client_data) + string(authenticator_data[37:])).armored


def _numbers(signature: bytes) -> bytes:
    """Return an ECDSA signature in DER as the two numbers SSH writes."""
    r, s = decode_dss_signature(signature)
    if r <= 0 or s <= 0:
        raise Refused("assertion is malformed: ECDSA numbers are not positive")
    return mpint(r) + mpint(s)

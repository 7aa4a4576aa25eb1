"""What a browser's authenticator answers, as an SSHSIG signature, and what it makes, as a public key. Nothing here is believed before it verifies."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

import webauthn
from webauthn.helpers import decode_credential_public_key
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.decode_credential_public_key import DecodedEC2PublicKey, DecodedRSAPublicKey
from webauthn.helpers.exceptions import WebAuthnException

from governance_hooks.errors import Refused
from governance_hooks.ssh.publickey import RS256, SK_ECDSA
from governance_hooks.ssh.wire import mpint
from governance_hooks.sshsig import PublicKey, passkey_signature, verify
from portal.settings import Settings

__all__ = ["creation_options", "passkey_of", "signature_of"]

_ALGORITHMS = [COSEAlgorithmIdentifier.ECDSA_SHA_256, COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256]


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: object) -> bytes:
    if not isinstance(text, str) or len(text) > 8000:
        raise Refused("the browser's answer is malformed")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise Refused("the browser's answer is malformed") from error


def signature_of(answer: str, message: bytes, keys: Sequence[PublicKey]) -> str:
    """Return the armored signature over `message` that a browser's answer holds.

    Args:
        answer: `PublicKeyCredential.toJSON()` of an assertion.
        message: the canonical bytes that were shown; the challenge has to be theirs.
        keys: whose it may be.

    Raises:
        Refused: it is malformed, or no signature of one of these keys over these bytes.
    """
    try:
        response = json.loads(answer)["response"]
        parts = [_bytes(response[name]) for name in ("authenticatorData", "clientDataJSON", "signature")]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused("the browser's answer is malformed") from error
    if not keys:
        raise Refused("no passkey of yours is enrolled", next="sign with ssh-keygen, or add a passkey first")
    refusal: Refused | None = None
    for key in keys:
        try:
            armored = passkey_signature(key, *parts)
            verify(armored, message)
        except Refused as error:
            refusal = error if refusal is None or "does not verify" in refusal.what else refusal
            continue
        return armored
    assert refusal is not None
    if "does not verify" in refusal.what:
        raise Refused("no enrolled passkey of yours made this signature", next="choose the passkey you enrolled here, or sign with another key") from refusal
    raise refusal


def creation_options(settings: Settings, challenge: bytes, user: bytes, name: str, cooperative: str) -> dict[str, Any]:
    """Return what a browser needs to make a passkey (PublicKeyCredentialCreationOptions as JSON).

    The user id is new for each passkey: an authenticator that has one of the same id would overwrite it, and the old key would be lost.
    P-256 is asked for first: OpenSSH knows no other signature of a browser. RSA is for machines that make nothing else.
    """
    return {
        "rp": {"id": settings.rp_id, "name": cooperative},
        "user": {"id": _b64(user), "name": name, "displayName": name},
        "challenge": _b64(challenge),
        "pubKeyCredParams": [{"type": "public-key", "alg": one.value} for one in _ALGORITHMS],
        "authenticatorSelection": {"residentKey": "required", "requireResidentKey": True, "userVerification": "required"},
        "attestation": "none",
        "timeout": 300_000,
    }


def passkey_of(answer: str, challenge: bytes, settings: Settings) -> PublicKey:
    """Return the public key of a passkey a browser made on the signing site for this challenge.

    Raises:
        Refused: it was made elsewhere, for another challenge, without user verification, or is of another type.
    """
    try:
        made = webauthn.verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=settings.rp_id,
            expected_origin=settings.signing_origin,
            require_user_verification=True,
            supported_pub_key_algs=_ALGORITHMS,
        )
        key = decode_credential_public_key(made.credential_public_key)
    except (WebAuthnException, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused("this is no passkey made on this page", value=str(error)[:120], next="make it again") from error
    if isinstance(key, DecodedRSAPublicKey):
        return PublicKey(RS256, mpint(int.from_bytes(key.e, "big")) + mpint(int.from_bytes(key.n, "big")), settings.rp_id)
    if not isinstance(key, DecodedEC2PublicKey):
        raise Refused("this passkey is of a type that cannot sign statements", allowed="P-256 (ES256), RSA (RS256)")
    return PublicKey(SK_ECDSA, b"\x04" + key.x + key.y, settings.rp_id)

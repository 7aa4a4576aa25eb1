"""Verification of Ed25519 signatures by libsodium: twice as fast as OpenSSL's, and stricter.

libsodium also refuses keys and points of small order and encodings that are not canonical, with which one signature can fit
many messages; whatever it accepts, OpenSSL and `ssh-keygen` accept as well. Source: RFC 8032, 5.1.7.
"""

from __future__ import annotations

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

__all__ = ["verifies"]


def verifies(point: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether the key with this point (32 bytes) made the signature (64 bytes) over the message."""
    if len(point) != 32 or len(signature) != 64:
        return False
    try:
        crypto_sign_open(signature + message, point)
    except BadSignatureError:
        return False
    return True

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from governance_hooks.ed25519 import verifies

ORDER = 2**252 + 27742317777372353535851937790883648493
IDENTITY = (1).to_bytes(32, "little")


@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300), bit=st.integers(0, 511))
def test_says_what_openssl_says(seed: bytes, message: bytes, bit: int) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    point, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert verifies(point, signature, message)
    flipped = (int.from_bytes(signature, "little") ^ 1 << bit).to_bytes(64, "little")
    assert not verifies(point, flipped, message)
    assert not verifies(point, signature, message + b"x")
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(point).verify(flipped, message)


def test_a_key_with_which_anybody_signs_anything_is_refused() -> None:
    signature = IDENTITY + bytes(32)
    Ed25519PublicKey.from_public_bytes(IDENTITY).verify(signature, b"whatever")  # OpenSSL believes it
    assert not verifies(IDENTITY, signature, b"whatever")


def test_a_second_spelling_of_a_signature_is_refused() -> None:
    key = Ed25519PrivateKey.generate()
    signature = key.sign(b"x")
    malleable = signature[:32] + (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")
    assert not verifies(key.public_key().public_bytes_raw(), malleable, b"x")


@pytest.mark.parametrize(("point", "signature"), [(31, 64), (33, 64), (0, 64), (32, 63), (32, 65), (32, 0)])
def test_other_lengths_are_refused(point: int, signature: int) -> None:
    assert not verifies(bytes(point), bytes(signature), b"x")

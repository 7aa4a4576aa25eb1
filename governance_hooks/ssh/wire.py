"""SSH wire encoding (RFC 4251 section 5) and base64, each read in its one canonical form."""

from __future__ import annotations

import binascii
import struct

from governance_hooks.errors import Refused
from governance_hooks.sentence import Sentence

__all__ = ["Reader", "decode_base64", "encode_base64", "mpint", "string"]


class Reader:
    """Reads SSH wire values and refuses truncated or trailing bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        if self.at + count > len(self.data):
            raise Refused(Sentence("signature or key is truncated"))
        self.at += count
        return self.data[self.at - count : self.at]

    def string(self) -> bytes:
        """Return a length-prefixed string."""
        return self.take(struct.unpack(">I", self.take(4))[0])

    def mpint(self) -> int:
        """Return a positive integer; refuse zero, negative ones, and any but the shortest form."""
        data = self.string()
        number = int.from_bytes(data, "big", signed=True)
        if number <= 0 or mpint(number) != struct.pack(">I", len(data)) + data:
            raise Refused("integer of a signature is not positive and in its shortest form", value=data.hex()[:80])
        return number

    def end(self) -> None:
        """Refuse bytes after the last value."""
        if self.at != len(self.data):
            raise Refused("signature or key has trailing bytes")


def string(data: bytes) -> bytes:
    """Return the wire form of a string."""
    return struct.pack(">I", len(data)) + data


def mpint(number: int) -> bytes:
    """Return the wire form of a positive integer: two's complement, shortest."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


def encode_base64(data: bytes) -> str:
    """Return the bytes as base64 text, on one line."""
    return binascii.b2a_base64(data, newline=False).decode()


def decode_base64(text: str) -> bytes:
    """Return the bytes of base64 text; refuse any other spelling of the same bytes."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise Refused("not base64", value=text[:40]) from error
    if encode_base64(data) != text:  # stray bits after the last byte would give one signature many spellings
        raise Refused("base64 is not in its only canonical form", value=text[-8:])
    return data

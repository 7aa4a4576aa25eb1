"""DSSE envelopes: bytes with their type and Ed25519 signatures over both, in one spelling.

Source: Dead Simple Signing Envelope v1.0.2 (secure-systems-lab/dsse). A `keyid` is a hint, never what is counted: here it is the
fingerprint `ssh-keygen -l` prints, so that people can compare it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import Refused
from governance_hooks.ssh.wire import decode_base64, encode_base64

__all__ = ["PAYLOAD_TYPE", "Envelope", "to_be_signed"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_MOST = 64
"""Signatures an envelope may hold."""


def to_be_signed(payload: bytes, kind: str = PAYLOAD_TYPE) -> bytes:
    """Return the pre-authentication encoding (PAE) of a payload and its type."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload of in-toto and the signatures over it, by key id."""

    payload: bytes
    signatures: dict[str, bytes]

    def dumps(self) -> bytes:
        """Return the file's bytes: canonical JSON, signatures sorted by key id."""
        listed = [{"keyid": name, "sig": encode_base64(signature)} for name, signature in sorted(self.signatures.items())]
        return dumps({"payload": encode_base64(self.payload), "payloadType": PAYLOAD_TYPE, "signatures": listed})

    @classmethod
    def read(cls, data: bytes, *, source: str) -> Envelope:
        """Read an envelope; raise CanonicalError or Refused for any byte that is not as `dumps` writes it."""
        value = loads(data, source=source)
        if not isinstance(value, dict) or value.keys() != {"payload", "payloadType", "signatures"} or value["payloadType"] != PAYLOAD_TYPE:
            raise Refused(f"{source} is no envelope of an in-toto statement", allowed=f"payload, payloadType {PAYLOAD_TYPE}, signatures")
        listed = value["signatures"]
        if not isinstance(value["payload"], str) or not isinstance(listed, list) or not 0 < len(listed) <= _MOST:
            raise Refused(f"{source} has no signatures, or too many", allowed=f"1 to {_MOST}")
        signatures = dict(_signature(one, source) for one in listed)
        made = cls(decode_base64(value["payload"]), signatures)
        if made.dumps() != data:
            raise Refused(f"{source} names a key twice, or does not sort its signatures by key id")
        return made


def _signature(value: Any, source: str) -> tuple[str, bytes]:
    if not isinstance(value, dict) or value.keys() != {"keyid", "sig"} or not all(isinstance(one, str) for one in value.values()):
        raise Refused(f"{source} has a signature that is not keyid and sig")
    return value["keyid"], decode_base64(value["sig"])

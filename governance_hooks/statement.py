"""Statements: the signed sentences the log is made of.

An entry of the log is the canonical JSON of `{"body": ..., "signatures": [...]}`. Each signature is an armored SSHSIG
over the canonical bytes of the body, so `ssh-keygen -Y verify` checks it. A statement's id is the SHA-256 of its
body: re-signing the same body does not make another statement.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, ValidationError

from governance_hooks.canonical import dumps, is_digest, loads, sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.fields import CLOCK_SKEW_S
from governance_hooks.payloads import PAYLOADS
from governance_hooks.sshsig import Signer, Verified, WebOrigin, check, signer_of

__all__ = [
    "CLOCK_SKEW_S",
    "MAX_ENTRY",
    "OPERATOR",
    "SELF",
    "Statement",
    "body",
    "entry",
    "now",
    "parse",
    "shift",
    "sign",
    "timestamp",
    "verify_signatures",
]

MAX_ENTRY = 65_535
"""Bytes; entries of C2SP tlog-tiles bundles have a 16-bit length."""

SELF = "self"
"""The `coop` field of a founding statement, which cannot hold its own digest."""

OPERATOR = "operator"
"""The `author` of statements the operator's key signs."""

_FIELDS = {"type", "coop", "author", "issued", "nonce", "payload"}
_AUTHOR = re.compile(r"^(operator|m-[0-9a-f]{16})$")
_ISSUED = re.compile(r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")
_NONCE = re.compile(r"^[0-9a-f]{32}$")


def timestamp(moment: datetime) -> str:
    """Return RFC 3339 UTC with seconds; refuse a naive time."""
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> str:
    """Return this machine's time, RFC 3339 UTC."""
    return timestamp(datetime.now(UTC))


def shift(instant: str, seconds: int) -> str:
    """Return an RFC 3339 instant moved by seconds."""
    return timestamp(datetime.fromisoformat(instant) + timedelta(seconds=seconds))


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement whose signatures verify; whether its signers had the right is the register's question."""

    id: str
    type: str
    coop: str
    author: str
    issued: str
    payload: BaseModel
    signers: frozenset[bytes]
    """Distinct raw public keys that signed (thresholds count these, never key names)."""
    entry: bytes
    origins: frozenset[WebOrigin] = frozenset()
    """Where passkeys among the signers signed."""


def body(kind: str, payload: BaseModel | dict[str, Any], *, coop: str, author: str, issued: str | None = None, nonce: str | None = None) -> dict[str, Any]:
    """Return a statement body ready to be signed; raise BadInput if the payload does not fit its type."""
    value = payload.model_dump(mode="json") if isinstance(payload, BaseModel) else payload
    made = {"type": kind, "coop": coop, "author": author, "issued": issued or now(), "nonce": nonce or secrets.token_hex(16), "payload": value}
    try:
        _check_body(made)
    except Refused as error:
        raise BadInput(error.what, value=error.value, allowed=error.allowed) from error
    return made


def sign(value: dict[str, Any], key: Signer) -> str:
    """Return the armored signature of `key` over a body."""
    return key.sign(dumps(value))


def entry(value: dict[str, Any], signatures: list[str]) -> bytes:
    """Return the log entry of a body and its signatures."""
    return dumps({"body": value, "signatures": signatures})


def _check_body(value: Any) -> BaseModel:
    if not isinstance(value, dict) or set(value) != _FIELDS:
        raise Refused(
            "statement does not have exactly the fields of a statement",
            value=sorted(value) if isinstance(value, dict) else value,
            allowed=", ".join(sorted(_FIELDS)),
        )
    model = PAYLOADS.get(value["type"]) if isinstance(value["type"], str) else None
    if model is None:
        raise Refused("statement type is unknown", value=value["type"], allowed=", ".join(PAYLOADS))
    for field, pattern in (("author", _AUTHOR), ("issued", _ISSUED), ("nonce", _NONCE)):
        if not isinstance(value[field], str) or not pattern.fullmatch(value[field]):
            raise Refused(f"statement field {field} is malformed", value=value[field], allowed=pattern.pattern)
    try:
        datetime.fromisoformat(value["issued"])
    except ValueError as error:
        raise Refused("statement field issued is no date", value=value["issued"]) from error
    if not (is_digest(value["coop"]) or (value["coop"] == SELF and value["type"] == "coop.founding/v1")):
        raise Refused("statement field coop is not the digest of a founding statement", value=value["coop"])
    try:
        return model.model_validate(value["payload"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refused(f"payload of {value['type']}: {where or 'payload'}: {first['msg']}", value=first.get("input")) from error


def _message(data: bytes, signatures: list[Any]) -> bytes:
    """Return what was signed: the canonical body, in an entry that is canonical, lies between `{"body":` and `,"signatures":[...]}`."""
    return data[len(b'{"body":') : -len(b',"signatures":' + dumps(signatures) + b"}")]


def verify_signatures(data: bytes) -> None:
    """Check the signatures of an entry and nothing else: for bytes that `parse` without signatures accepts, this is the rest of it.

    Raises:
        Refused, BadInput: the bytes are no entry, or a signature does not verify.
    """
    try:
        signatures = json.loads(data)["signatures"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused("not an entry of body and signatures") from error
    if not isinstance(signatures, list) or not all(isinstance(signature, str) for signature in signatures):
        raise Refused("an entry's signatures are a list of texts")
    message = _message(data, signatures)
    for signature in signatures:
        check(signature, message)


def parse(data: bytes, *, source: str = "statement", signatures: bool = True) -> Statement:
    """Parse a log entry and check its form and every signature.

    Args:
        data: the entry's bytes.
        source: what to call it in errors.
        signatures: False only for bytes whose signatures were checked before: the signers are then read, not verified.

    Raises:
        Refused, BadInput: too long, not canonical, unknown type or field, or a signature that does not verify.
    """
    if len(data) > MAX_ENTRY:
        raise Refused(f"{source} is too long", value=len(data), allowed=f"{MAX_ENTRY} bytes")
    value = loads(data, source=source)
    if not isinstance(value, dict) or set(value) != {"body", "signatures"} or not isinstance(value["signatures"], list):
        raise Refused(f"{source} is not an entry of body and signatures")
    payload = _check_body(value["body"])
    message = _message(data, value["signatures"])
    found: list[Verified] = []
    for signature in value["signatures"]:
        if not isinstance(signature, str):
            raise Refused(f"{source} has a signature that is not text")
        plain = None if signatures else signer_of(signature)
        # A passkey's signature is checked in any case: where it was made stands inside what is checked.
        found.append(Verified(plain, None) if plain is not None and plain.kind == "ssh-ed25519" else check(signature, message))
    signers = frozenset(one.key.raw for one in found)
    if not found or len(signers) != len(found):
        raise Refused(f"{source} needs signatures of distinct keys", value=len(found))
    origins = frozenset(one.origin for one in found if one.origin is not None)
    made = value["body"]
    return Statement(sha256(message), made["type"], made["coop"], made["author"], made["issued"], payload, signers, data, origins)

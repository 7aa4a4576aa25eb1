"""Statements: the signed sentences the log is made of.

An entry of the log is the canonical JSON of `{"body": ..., "signatures": [...]}`. Each signature is an armored SSHSIG
over the canonical bytes of the body, so `ssh-keygen -Y verify` checks it. A statement's id is the SHA-256 of its
body: re-signing the same body does not make another statement.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ValidationError

from governance_hooks.canonical import dumps, is_digest, loads, sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.fields import CLOCK_SKEW_S
from governance_hooks.payloads.types import PAYLOADS
from governance_hooks.sshsig import Claim, Signer, WebOrigin, claim, require

__all__ = [
    "CLOCK_SKEW_S",
    "MAX_ENTRY",
    "OPERATOR",
    "SELF",
    "SITE",
    "Statement",
    "body",
    "entry",
    "now",
    "parse",
    "read",
    "shift",
    "sign",
    "timestamp",
]

MAX_ENTRY = 65_535
"""Bytes; entries of C2SP tlog-tiles bundles have a 16-bit length."""

SELF = "self"
"""The `coop` field of a founding statement, which cannot hold its own digest."""

OPERATOR = "operator"
"""The `author` of statements the operator's key signs."""

SITE: Final = "s-"
"""What the `author` of a site's statements begins with; its name follows."""

_ENTRY = {"body", "signatures"}
_FIELDS = {"type", "coop", "author", "issued", "nonce", "payload"}
_AUTHOR = re.compile(r"^(operator|m-[0-9a-f]{16}|s-[a-z0-9][a-z0-9-]{0,30})$")
_ISSUED = re.compile(r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")
_NONCE = re.compile(r"^[0-9a-f]{32}$")
_PATTERNS = (("author", _AUTHOR), ("issued", _ISSUED), ("nonce", _NONCE))


def timestamp(moment: datetime) -> str:
    """Return RFC 3339 UTC with seconds; refuse a naive time."""
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> str:
    """Return this machine's time, RFC 3339 UTC."""
    return timestamp(datetime.now(UTC))


@lru_cache(maxsize=1024)  # a fold asks for the same few instants again and again
def shift(instant: str, seconds: int) -> str:
    """Return an RFC 3339 instant moved by seconds."""
    return timestamp(datetime.fromisoformat(instant) + timedelta(seconds=seconds))


class Statement(NamedTuple):
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


def body(
    kind: str,
    payload: BaseModel | dict[str, Any],
    *,
    coop: str,
    author: str,
    issued: str | None = None,
    nonce: str | None = None,
    payloads: Mapping[str, type[BaseModel]] = PAYLOADS,
) -> dict[str, Any]:
    """Return a statement body ready to be signed; raise BadInput if the payload does not fit its type.

    Args:
        payloads: the types there are; by default those of the log.
    """
    value = payload.model_dump(mode="json") if isinstance(payload, BaseModel) else payload
    made = {"type": kind, "coop": coop, "author": author, "issued": issued or now(), "nonce": nonce or secrets.token_hex(16), "payload": value}
    try:
        _check_body(made, payloads)
    except Refused as error:
        raise BadInput(error.what, value=error.value, allowed=error.allowed) from error
    return made


def sign(value: dict[str, Any], key: Signer) -> str:
    """Return the armored signature of `key` over a body."""
    return key.sign(dumps(value))


def entry(value: dict[str, Any], signatures: list[str]) -> bytes:
    """Return the log entry of a body and its signatures."""
    return dumps({"body": value, "signatures": signatures})


def _check_body(value: Any, payloads: Mapping[str, type[BaseModel]]) -> BaseModel:
    if not isinstance(value, dict) or value.keys() != _FIELDS:
        raise Refused(
            "statement does not have exactly the fields of a statement",
            value=sorted(value) if isinstance(value, dict) else value,
            allowed=", ".join(sorted(_FIELDS)),
        )
    model = payloads.get(value["type"]) if isinstance(value["type"], str) else None
    if model is None:
        raise Refused("statement type is unknown", value=value["type"], allowed=", ".join(payloads))
    for field, pattern in _PATTERNS:
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


def read(data: bytes, *, source: str = "statement", payloads: Mapping[str, type[BaseModel]] = PAYLOADS) -> tuple[Statement, list[Claim]]:
    """Read a log entry and check everything about it but the arithmetic of its signatures: the statement is not yet to be believed.

    Args:
        data: the entry's bytes.
        source: what to call it in errors.
        payloads: the types there are; by default those of the log.

    Raises:
        Refused, BadInput: too long, not canonical, unknown type or field, or a signature that is not of our form.
    """
    if len(data) > MAX_ENTRY:
        raise Refused(f"{source} is too long", value=len(data), allowed=f"{MAX_ENTRY} bytes")
    value = loads(data, source=source)
    if not isinstance(value, dict) or value.keys() != _ENTRY or not isinstance(value["signatures"], list):
        raise Refused(f"{source} is not an entry of body and signatures")
    made, signatures = value["body"], value["signatures"]
    payload = _check_body(made, payloads)
    # What was signed is the canonical body. The entry is canonical, so that stands between `{"body":` and the last
    # `,"signatures":[`: inside of a text each quote would be escaped.
    message = data[len(b'{"body":') : data.rindex(b',"signatures":[')]
    claims = []
    for signature in signatures:
        if not isinstance(signature, str):
            raise Refused(f"{source} has a signature that is not text")
        claims.append(claim(signature, message))
    signers = frozenset([one.key.raw for one in claims])
    if not claims or len(signers) != len(claims):
        raise Refused(f"{source} needs signatures of distinct keys", value=len(claims))
    origins = frozenset([one.origin for one in claims if one.origin is not None])
    return Statement(sha256(message), made["type"], made["coop"], made["author"], made["issued"], payload, signers, data, origins), claims


def parse(data: bytes, *, source: str = "statement", payloads: Mapping[str, type[BaseModel]] = PAYLOADS) -> Statement:
    """Parse a log entry, or a document of the same form, and check its form and every signature.

    Raises:
        Refused, BadInput: what `read` refuses, or a signature that does not verify.
    """
    statement, claims = read(data, source=source, payloads=payloads)
    for one in claims:
        require(one)
    return statement

"""The intake of signed statements: nothing but the signatures counts, so there is no account, no session and no token."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, NoReturn

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field, StringConstraints, WithJsonSchema

from governance_hooks.canonical import MAX_SAFE_INTEGER
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.statement import entry
from portal.api.asking import Program, Shape, answered
from portal.api.log import Digest, Receipt, receipt_of
from portal.signing.submitting import armored_blocks, submit

__all__ = ["VALUE", "router"]

router = APIRouter(prefix="/statements", tags=["statements"])

_SIGNATURE = "-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg\n-----END SSH SIGNATURE-----\n"
_BALLOT = {
    "type": "coop.ballot/v1",
    "coop": "sha256:" + "c0" * 32,
    "author": "m-0000000000000001",
    "issued": "2026-11-29T12:00:00Z",
    "nonce": "0123456789abcdef" * 2,
    "payload": {"proposal": "sha256:" + "5f" * 32, "choice": "for", "sequence": 1, "reason": None},
}


_LINE, _BLANKS = "[A-Za-z0-9+/=]", "[ \\t]*[\\r\\n]"
_ARMOR = f"-----BEGIN SSH SIGNATURE-----{_BLANKS}[ \\t\\r\\n]*{_LINE}+{_BLANKS}([ \\t]*{_LINE}*{_BLANKS})*[ \\t]*-----END SSH SIGNATURE-----"
"""What `armored_blocks` finds: a signature as ssh-keygen writes it, also indented, with blank lines, or with the line ends of another system."""

VALUE: Final = {
    "description": "What stands in a payload: no number but whole ones that every reader of JSON keeps.",
    "anyOf": [
        {"type": "null"},
        {"type": "boolean"},
        {"type": "string"},
        {"type": "integer", "minimum": -MAX_SAFE_INTEGER, "maximum": MAX_SAFE_INTEGER},
        {"type": "array", "items": {"$ref": "#/components/schemas/Value"}},
        {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Value"}},
    ],
}
"""Described by hand: `_strictly` reads the bytes themselves, which pydantic has turned into numbers already."""
_PAYLOAD = {
    "type": "object",
    "additionalProperties": {"$ref": "#/components/schemas/Value"},
    "description": "What its type asks for; anything else is refused as what the rules do not allow (409).",
}


class Statement(Shape):
    """A statement's body, exactly as it was signed: its canonical JSON (RFC 8785) is what the signatures are over."""

    type: Annotated[str, StringConstraints(pattern=r"^coop\.[a-z-]{1,40}/v[1-9]$")]
    coop: Digest
    author: Annotated[str, StringConstraints(pattern=r"^(operator|m-[0-9a-f]{16}|s-[a-z0-9][a-z0-9-]{0,30})$")]
    issued: Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
    nonce: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    payload: Annotated[dict[str, Any], WithJsonSchema(_PAYLOAD)]


class Signed(Shape):
    """A statement and the signatures that give it its authority."""

    statement: Statement
    signatures: Annotated[
        list[Annotated[str, StringConstraints(pattern=_ARMOR, max_length=20_000)]],
        Field(min_length=1, max_length=40, description="What `ssh-keygen -Y sign -n coop-statement@v1` wrote, one signature an item."),
    ]


async def _sent(request: Request) -> bytes:
    """Return the body as it came: the same bytes that were read into fields."""
    return await request.body()


_TAKEN: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "It is durably in the log. The receipt is what its author keeps.",
        "headers": {"location": {"description": "Where the receipt stays.", "schema": {"type": "string"}, "required": True}},
    }
}
_EXAMPLES: dict[str, Any] = {"ballot": {"value": {"statement": _BALLOT, "signatures": [_SIGNATURE]}}}


@router.post(
    "",
    status_code=201,
    response_model=Receipt,
    responses=_TAKEN | answered(400, 403, 408, 409, 413, 415, cached=False),
    openapi_extra={"requestBody": {"content": {"application/json": {"examples": _EXAMPLES}}}},
)
def hand_in(visit: Program, body: Signed, sent: Annotated[bytes, Depends(_sent)]) -> Response:
    """Append a signed statement: a ballot, a consent, a withdrawal, whatever a member, a site or the operator may say.

    It is checked as a pasted one is: the form, the signatures, whether the signers may say this, whether the rules allow it now. If anything
    is wrong, nothing is appended. A statement that is in the log already is refused with 409; its receipt is at `/log/statements/{statement}`.
    """
    value = _strictly(sent)["statement"]
    signatures = [block for one in body.signatures for block in armored_blocks(one)]
    made = submit(visit.service, entry(value, signatures))
    receipt = receipt_of(visit.service, made.id)
    if receipt is None:
        raise CoopError("the log does not show what was just appended", next="ask for the receipt again")
    where = f"{visit.service.settings.origin}/api/v1/log/statements/{made.id}"
    return Response(receipt.model_dump_json().encode(), 201, {"location": where}, "application/json")


def _strictly(sent: bytes) -> Any:
    """Return the JSON of a body that pydantic has accepted; refuse what has two readings, before anything is made of it.

    Raises:
        BadInput: a key that stands twice, a number that is not whole, or too large for some readers.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(items)) != len(items):
            raise BadInput("a key stands twice in one object", value=", ".join(name for name, _ in items)[:100], allowed="each once")
        return dict(items)

    def integer(text: str) -> int:
        if len(text) > 17 or abs(int(text)) > MAX_SAFE_INTEGER:
            raise BadInput("an integer of 2^53 or more", value=text[:40], allowed="smaller ones")
        return int(text)

    def real(text: str) -> NoReturn:
        raise BadInput("a number that is not an integer", value=text[:40], allowed="whole numbers")

    return json.loads(sent, object_pairs_hook=pairs, parse_int=integer, parse_float=real, parse_constant=real)

"""A question of a program: bounded, without a session, answered the same for everybody, and kept as long as a public page."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Depends, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from governance_hooks.errors import BadInput
from portal.limits import network
from portal.problem import PROBLEM
from portal.public import KEPT, public
from portal.service import Service
from portal.visit import Visit

__all__ = ["FOREVER", "LAST", "MOST", "ByDigest", "Count", "Program", "Shape", "Start", "StatementDigest", "answered", "kept", "nothing_here", "page_of", "raw"]

LAST: Final = 2**53 - 1
"""The largest whole number that every reader of JSON keeps."""
FOREVER: Final = "public, max-age=31536000, immutable"
"""For what can never be another: a full tile of the log."""
MOST: Final = 100

Start = Annotated[int, Query(ge=0, le=LAST, description="Number of the first to return, counted from 0; `next` of an answer is the one to go on with.")]
Count = Annotated[int, Query(ge=1, le=MOST, description=f"How many to return, at most {MOST}.")]
ByDigest = Annotated[str, Path(pattern=r"^sha256:[0-9a-f]{64}$", description="SHA-256 with its name in front.")]
StatementDigest = Annotated[
    str, Path(pattern=r"^sha256:[0-9a-f]{64}$", description="SHA-256 of the canonical bytes of a statement's body: the same however often it is signed.")
]


class Shape(BaseModel):
    """A document of the API: what it has is what its schema says, and nothing else."""

    model_config = ConfigDict(extra="forbid")


def _program(request: Request) -> Visit:
    """Return the visit of a program: nobody is signed in here, whatever cookie comes along."""
    service: Service = request.app.state.service
    if not service.limits.allows("api", network(request.client)):
        raise HTTPException(429)
    route = request.scope.get("route")
    known = {field.alias for field in route.dependant.query_params} if isinstance(route, APIRoute) else set()
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            raise BadInput("there is no such parameter here", value=name[:100], allowed=", ".join(sorted(known)) or "none")
        if name in seen:
            raise BadInput("a parameter is given twice", value=name[:100], allowed="each once")
        seen.add(name)
    return Visit(request, service, None)


Program = Annotated[Visit, Depends(_program)]


def kept(visit: Visit, shape: BaseModel, *, how: str = KEPT) -> Response:
    """Return a document, or 304 if who asks has it."""
    return public(visit, Response(shape.model_dump_json().encode(), media_type="application/json"), kept=how)


def raw(visit: Visit, data: bytes, kind: str, *, how: str) -> Response:
    """Return bytes as they are, or 304 if who asks has them."""
    return public(visit, Response(data, media_type=kind), kept=how)


def page_of(start: int, limit: int, size: int) -> tuple[int, int, int | None]:
    """Return where a page begins and ends, and where the next one begins; None after the last."""
    first, stop = min(start, size), min(start + limit, size)
    return first, stop, stop if stop < size else None


def nothing_here(what: str) -> HTTPException:
    """Return the refusal of what is not here."""
    return HTTPException(404, what)


_WORDS: Final = {
    304: "You have it already: the `ETag` you sent in `If-None-Match` is still the one.",
    400: "The body is no JSON.",
    403: "A page of another site sent this. Programs that are no browsers, and pages of this site, may.",
    404: "There is nothing here under this name or number. What is in the log stays, so it never was there, or is not there yet.",
    408: "The body took longer than 20 seconds to arrive.",
    409: "The rules do not allow this statement now; nothing was appended. `detail` and `allowed` say why.",
    413: "The body is too big.",
    415: "The body is not sent as `application/json`.",
    422: "A parameter or field is not as this page describes it. `detail` names it, `value` is what came, `allowed` what would have been accepted.",
    429: "Too many questions from one address. `Retry-After` says how many seconds to wait.",
    503: "The log cannot be read or written at the moment; nothing was appended. `Retry-After` says how many seconds to wait.",
}
_WAIT: Final = {"retry-after": {"description": "Seconds to wait.", "schema": {"type": "string"}, "required": True}}
_TAG: Final = {
    "etag": {"description": "Names this version; send it back in `If-None-Match`.", "schema": {"type": "string"}, "required": True},
    "cache-control": {"description": "How long it may be kept.", "schema": {"type": "string"}, "required": True},
}


def answered(*statuses: int, content: dict[str, Any] | None = None, cached: bool = True) -> dict[int | str, dict[str, Any]]:
    """Return what an operation may answer, for its description: its own statuses beside those that every one has."""
    found: dict[int | str, dict[str, Any]] = {}
    if cached:
        found[200] = {"description": "What was asked for.", "headers": _TAG} | ({"content": content} if content else {})
        found[304] = {"description": _WORDS[304], "headers": _TAG}
    for status in (*statuses, 422, 429, 503):
        found[status] = {"description": _WORDS[status], "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}} | (
            {"headers": _WAIT} if status in (429, 503) else {}
        )
    return found

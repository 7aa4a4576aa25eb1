"""What a program is told when something is refused: problem details as JSON (RFC 9457)."""

from __future__ import annotations

import json
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from governance_hooks.errors import BadInput, CoopError, Refused

__all__ = ["PROBLEM", "Problem", "problem", "problem_of"]

PROBLEM: Final = "application/problem+json"
"""Media type of RFC 9457."""

_LONGEST: Final = 500
_TITLES: Final = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    503: "Service Unavailable",
}
"""Names of statuses, as RFC 9110 has them."""


class Problem(BaseModel):
    """Why a request was refused, and what would not be: the four words every command of `coop` says, in the fields of RFC 9457."""

    model_config = ConfigDict(extra="forbid")

    type: Annotated[str, Field(description="Always about:blank: the status says what kind of problem it is.", examples=["about:blank"])] = "about:blank"
    title: Annotated[str, Field(description="The name of the status.", examples=["Conflict"])]
    status: Annotated[int, Field(description="The status of the answer.", ge=400, le=599, examples=[409])]
    detail: Annotated[
        str, Field(description="What is wrong, in one sentence; `what` in `coop --json`.", examples=["ballots of a member are numbered one by one"])
    ]
    value: Annotated[str | None, Field(description="The value that was not accepted, shortened.", examples=["3"])] = None
    allowed: Annotated[str | None, Field(description="What would have been accepted.", examples=["2"])] = None
    next: Annotated[
        str | None, Field(description="What most likely helps.", examples=["fetch the proposal again, and number the ballot after your last one"])
    ] = None


def problem(status: int, detail: str, *, value: object = None, allowed: str | None = None, then: str | None = None) -> Response:
    """Return a refusal; `then` is what most likely helps."""
    said = Problem(
        title=_TITLES.get(status, "Not Done"),
        status=status,
        detail=detail[:_LONGEST],
        value=None if value is None else str(value)[:200],
        allowed=None if allowed is None else allowed[:_LONGEST],
        next=None if then is None else then[:_LONGEST],
    )
    body = json.dumps(said.model_dump(exclude_none=True), ensure_ascii=False, separators=(",", ":")).encode(errors="replace")  # JSON may hold half a letter
    return Response(body, status, {"retry-after": "10"} if status == 503 else None, PROBLEM)


def problem_of(error: CoopError) -> Response:
    """Return the refusal of an error: 409 for what the rules do not allow now, 422 for what is malformed, 503 for what is this server's fault."""
    status = 409 if isinstance(error, Refused) else 422 if isinstance(error, BadInput) else 503
    return problem(status, error.what, value=error.value, allowed=error.allowed, then=error.next)

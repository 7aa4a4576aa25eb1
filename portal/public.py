"""Pages for everybody: the same for all who have no account, so that a browser or a proxy may keep them for a minute and then ask whether they changed."""

from __future__ import annotations

import hashlib
from typing import Final

from fastapi import Response

from portal.visit import Visit

__all__ = ["KEPT", "matches", "public"]

KEPT: Final = "public, max-age=60"
"""A page that says what stands in the log is at most a minute old."""


def matches(visit: Visit, tag: str) -> bool:
    """Tell whether who asks has this version already."""
    asked = visit.request.headers.get("if-none-match", "")[:2000]
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in asked.split(","))


def public(visit: Visit, answer: Response, *, kept: str = KEPT) -> Response:
    """Return an answer that may be kept, or 304 if who asks has it; what is shown to somebody who is signed in, or was, is kept nowhere."""
    if visit.account is not None or visit.lapsed or "lang" in visit.request.query_params or answer.status_code != 200:  # the second sets a cookie
        return answer
    tag = f'"{hashlib.sha256(bytes(answer.body)).hexdigest()[:32]}"'
    headers = {name: answer.headers[name] for name in ("content-language", "vary") if name in answer.headers} | {"etag": tag, "cache-control": kept}
    if matches(visit, tag):
        return Response(status_code=304, headers=headers)
    answer.headers.update(headers)
    return answer

"""Ending notices by the link in a letter: one click of the mail program (RFC 8058), or a button on a page; nobody signs in for that."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from starlette.exceptions import HTTPException

from portal.visit import Here

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

Token = Annotated[str, Path(max_length=60, pattern=r"^[A-Za-z0-9_-]+$")]


@router.get("/mail/stop/{token}")
def ask(visit: Here, token: Token) -> Response:
    """Ask first: programs that read mail open every link."""
    return visit.page("stop.html", token=token, done=False)


@router.post("/mail/stop/{token}")
def stop(visit: Here, token: Token) -> Response:
    """End the notices."""
    if not visit.service.private.stops.stop(token):
        raise HTTPException(404)
    return visit.page("stop.html", token=token, done=True)

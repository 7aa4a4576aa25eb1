"""Hearing no more: the link at the end of a mail, and the one click of a mail program (RFC 8058)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from itsdangerous import BadSignature

from governance_hooks.errors import Refused
from portal import i18n
from portal.visit import Here, Visit

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

Token = Annotated[str, Path(max_length=200, pattern=r"^[A-Za-z0-9_.-]+$")]


def _account(visit: Visit, token: str) -> str:
    try:
        return str(visit.service.tokens.loads(token))
    except BadSignature as error:
        raise Refused(i18n.gettext("this link is none of ours"), next=i18n.gettext("sign in, and choose under Account")) from error


@router.get("/unsubscribe/{token}")
def ask(visit: Here, token: Token) -> Response:
    """Ask before it is done: programs that read mail open every link."""
    _account(visit, token)
    return visit.page("unsubscribe.html", token=token, done=False)


@router.post("/unsubscribe/{token}")
def stop(visit: Here, token: Token) -> Response:
    """Send no more notices to this account."""
    visit.service.private.accounts.settle(_account(visit, token), notices=False)
    return visit.page("unsubscribe.html", token=token, done=True)

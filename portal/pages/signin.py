"""Signing in: a link in a mail, used once, on a page with a button. The key has no part in it: a key only signs statements."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Path, Query, Response

from governance_hooks.errors import BadInput, Refused
from portal import i18n
from portal.limits import network
from portal.store.accounts import mail_address
from portal.store.sessions import LINK_S, SESSION_S
from portal.unsigned import forget_reasons, forget_unsigned
from portal.visit import Here, Visit, cookie_name, local_path, session_cookie

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

Token = Annotated[str, Path(max_length=60, pattern=r"^[A-Za-z0-9_-]+$")]


@router.get("/signin")
def ask(visit: Here, then: Annotated[str, Query(alias="next", max_length=400)] = "/") -> Response:
    """Ask for a mail address."""
    return visit.page("signin.html", next=local_path(then), sent=False, lasts=i18n.span(SESSION_S))


@router.post("/signin")
def send_link(visit: Here, mail: Annotated[str, Form(max_length=254)], then: Annotated[str, Form(alias="next", max_length=400)] = "/") -> Response:
    """Mail a link; the answer is the same whether the address has an account or not."""
    service, address = visit.service, mail_address(mail)
    if service.limits.allows("mail-from", network(visit.request.client)) and service.limits.allows("mail-to", address.lower()):
        token = service.private.sessions.make_link(address, i18n.current(), local_path(then))
        url = f"{service.settings.origin}/signin/{token}?lang={quote(i18n.current())}"
        service.private.outbox.put(f"signin:{token[:12]}", address, i18n.current(), "signin", {"url": url, "minutes": str(LINK_S // 60)})
    return visit.page("signin.html", next="/", sent=True, lasts=i18n.span(SESSION_S))


@router.get("/signin/{token}")
def confirm(visit: Here, token: Token) -> Response:
    """Ask before the link is used: programs that read mail open every link, and somebody may have sent you theirs."""
    link = visit.service.private.sessions.link(token)
    if link is None:
        raise Refused(i18n.gettext("This link does not sign in any more."), next=i18n.gettext("ask for a new one"))
    return visit.page("signin_confirm.html", mail=link.mail, token=token)


@router.post("/signin/{token}")
def sign_in(visit: Here, token: Token) -> Response:
    """Begin a session under a new name; one the browser had before ends."""
    session, _, then = visit.service.private.sessions.sign_in(token, visit.token)
    visit.forget_session()
    answer = visit.go(then)
    answer.headers["set-cookie"] = session_cookie(visit.service.settings, session)
    return answer


@router.post("/signout")
def sign_out(visit: Here, everywhere: Annotated[bool, Form()] = False) -> Response:
    """End this session, or all of one's own."""
    if visit.token:
        visit.service.private.sessions.end(visit.token, everywhere=everywhere)
        visit.forget_session()
    return _without_name(visit, visit.go("/"))


def _without_name(visit: Visit, answer: Response) -> Response:
    """Have a browser forget the name of its session: whoever ended it themselves need not be told."""
    settings = visit.service.settings
    answer.delete_cookie(cookie_name(settings), path="/", secure=settings.secure, httponly=True, samesite="lax")
    return answer


@router.get("/account")
def account(visit: Here) -> Response:
    """Show what the portal keeps about somebody, apart from the log."""
    own = visit.signed_in()
    waiting, _ = visit.service.private.basket.waiting(own.account)
    return visit.page("account.html", own=own, waiting=waiting, refused=visit.service.private.outbox.refused_since(own.mail))


@router.post("/account/notices")
def notices(visit: Here, notices: Annotated[bool, Form()] = False) -> Response:
    """Keep whether somebody wants mail about votes."""
    visit.service.private.accounts.settle(visit.signed_in().account, notices=notices, language=i18n.current())
    return visit.go("/account")


@router.post("/account/erase")
def erase(visit: Here, mail: Annotated[str, Form(max_length=254)]) -> Response:
    """Erase an account; to be sure, its address is typed again."""
    own = visit.signed_in()
    if mail_address(mail) != own.mail:
        raise BadInput(i18n.gettext("this is not the address of your account"), next=i18n.gettext("type the address you sign in with"))
    given = visit.service.private.drafts.reasons(author=own.member) if own.member else set()
    visit.service.private.accounts.erase(own.account)
    if own.member is not None:  # texts and reasons that were never signed for go with the statements that waited to be signed
        forget_unsigned(visit.service, member=own.member)
        forget_reasons(visit.service, given)
    visit.account = None  # the page is for nobody: its scripts would note again who was here
    visit.forget_session()
    page = _without_name(visit, visit.page("erased.html"))
    page.headers["clear-site-data"] = '"storage"'  # texts that were typed on this device and never sent
    return page

"""A visit: one request, who asks, and what a page may do with it. Every handler takes one, as `visit: Here`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.routing import Match, Mount

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import Refused
from governance_hooks.register import Register
from governance_hooks.state.membership import Member
from portal import i18n
from portal.rendering import render
from portal.service import Service
from portal.settings import Settings
from portal.store.accounts import Account
from portal.store.sessions import COOKIE_S
from portal.store.tokens import hashed

__all__ = ["RENEWED", "Here", "SignInFirst", "Standing", "Visit", "cookie_name", "local_path", "session_cookie", "visit_of"]

Standing = Literal["outside", "member", "suspended", "left"]
"""What who asks is to the cooperative: outside are strangers, and those who asked to join at most."""

_DEEPEST: Final = 4
"""Parts of an address, at most, that a form's has after its page's, and one more: /proposals/DIGEST/remarks/7/erase."""


class SignInFirst(Exception):
    """A page for people who are signed in; `app` sends others to sign in and back."""


def cookie_name(settings: Settings) -> str:
    """Return the name of the session's cookie; over https one that no other host of the domain can set."""
    return "__Host-coop" if settings.secure else "coop-session"


def local_path(text: str) -> str:
    """Return a path of this site as it stands, and / for anything that could lead to another one."""
    good = text.startswith("/") and not text.startswith("//") and len(text) <= 400 and text.isascii() and text.isprintable() and "\\" not in text
    return text if good else "/"


def _wanted(request: Request) -> str:
    """Return the page somebody asked for, or, where they sent a form, the nearest page at or above its address."""
    path, query = request.url.path, request.url.query
    for _ in range(_DEEPEST):
        if _is_page(request, path):
            return path + (f"?{query}" if query else "")
        path, query = path.rpartition("/")[0], ""
    return "/"


def _is_page(request: Request, path: str) -> bool:
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
    return any(not isinstance(route, Mount) and route.matches(scope)[0] is Match.FULL for route in request.app.routes)


@dataclass(slots=True)
class Visit:
    """One request."""

    request: Request
    service: Service
    account: Account | None
    token: str | None = None
    """The session's name, the new one if this visit renewed it."""
    standing: Standing = "outside"
    lapsed: bool = False
    """Whether a name came along that opens nothing: too old, ended, or made up. Which of them it is, nobody is told."""

    @property
    def session(self) -> str | None:
        """The hash of the session's name, for what may change what the account is."""
        return hashed(self.token) if self.token else None

    def forget_session(self) -> None:
        """Set no cookie after this visit but what its answer sets."""
        _names(self.request).clear()

    @property
    def member(self) -> str | None:
        """The pseudonym of who asks, if they are a member."""
        return self.account.member if self.account else None

    @property
    def belongs(self) -> bool:
        """Whether who asks is a member now, suspended or not."""
        return self.standing in ("member", "suspended")

    def register(self) -> AbstractContextManager[Register]:
        """Hold the register while it is read: `with visit.register() as register:`."""
        return self.service.view.reading()

    def signed_in(self) -> Account:
        """Return the account of who asks; send others to sign in."""
        if self.account is None:
            raise SignInFirst
        return self.account

    def as_member(self, register: Register) -> Member:
        """Return the member who asks; send others to sign in, or say that they have not joined."""
        account = self.signed_in()
        if account.member is None:
            raise Refused(i18n.gettext("this page is for members"), next=i18n.gettext("join, or show that you are a member with your key"))
        if _standing(register, account.member) == "left":
            raise Refused(i18n.gettext("you have left the cooperative, and this page is for members"), next=i18n.gettext("Join again"))
        return register.member(account.member)

    def as_author(self, register: Register) -> Member:
        """Return who asks, a member or one who left: what they gave and wrote stays theirs to see and to erase."""
        found = register.members.get(self.signed_in().member or "")
        return found if found is not None and found.left is not None else self.as_member(register)

    def as_officer(self, register: Register) -> Member:
        """Return the member who asks, who holds an office; refuse others."""
        member = self.as_member(register)
        if member.id not in register.office_holders():
            raise Refused(i18n.gettext("this page is for registrars, stewards and the oversight body"))
        return member

    @property
    def signing_in(self) -> str:
        """The path on which to sign in, and come back to what was asked for."""
        path = f"/signin?next={quote(_wanted(self.request))}"
        return path if local_path(path) == path else "/signin"

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Return a page."""
        html = render(template, visit=self, settings=self.service.settings, path=self.request.url.path, **values)
        return HTMLResponse(html, status, {"content-language": i18n.current(), "vary": "accept-language, cookie"})

    def go(self, path: str) -> Response:
        """Send the browser to a path of this site."""
        return RedirectResponse(local_path(path), 303)

    def go_sign(self, path: str) -> Response:
        """Send the browser to a path of the signing site, in the language it reads."""
        joint = "&" if "?" in path else "?"
        return RedirectResponse(f"{self.service.settings.signing_origin}{path}{joint}lang={quote(i18n.current())}", 303)

    def go_home(self, path: str) -> Response:
        """Send the browser from the signing site back to a path of the members' site."""
        return RedirectResponse(self.service.settings.origin + local_path(path), 303)


def session_cookie(settings: Settings, token: str) -> str:
    """Return the header that keeps a session's name in the browser."""
    answer = Response()
    answer.set_cookie(cookie_name(settings), token, max_age=COOKIE_S, path="/", secure=settings.secure, httponly=True, samesite="lax")
    return answer.headers["set-cookie"]


RENEWED: Final = "coop.session"
"""Where in a request's scope the new name of a renewed session is left, for the answer's cookie."""


def _names(request: Request) -> list[str]:
    names: list[str] = request.scope.setdefault(RENEWED, [])
    return names


def visit_of(request: Request) -> Visit:
    """Return who asks."""
    service: Service = request.app.state.service
    names = _names(request)
    token = (names[-1] if names else request.cookies.get(cookie_name(service.settings))) if request.app.state.sessions else None
    session = service.private.sessions.open(token) if token and len(token) < 100 else None
    if token is None or session is None:
        return Visit(request, service, None, lapsed=bool(token))
    account, old, lapsed = session.account, hashed(token), Visit(request, service, None, lapsed=True)
    with service.view.reading() as register:  # once: what follows is of one state of the log
        admitted = account.member is None and account.asks_as is not None and account.asks_as in register.members
        member = account.asks_as if admitted else account.member
        standing, keys = _standing(register, member), _with_keys(register, member)
        goes_on = session.standing in (None, keys) or _asked_for_it(service, old, member)
    if admitted:  # by a statement another program appended, or just before this one was killed
        service.private.accounts.bind(account.account, str(member))
        account = service.private.accounts.find(account=account.account) or account
    if session.standing is None:
        service.private.sessions.stand(token, keys)
    elif session.standing != keys and member is not None:  # who left, and parts the account from the pseudonym to join again, opens nothing by it
        # Whoever knew the old name knows nothing now. The session that asked for the change goes on, every other one of the account ends:
        # one on a lost device, of somebody who got into the mailbox, or a name that was planted in this browser.
        if not goes_on:
            service.private.sessions.end(token)
            return lapsed
        token = service.private.sessions.renew(token, keys)
        if token is None:
            return lapsed
        names.append(token)
    return Visit(request, service, account, token, standing)


def _standing(register: Register, pseudonym: str | None) -> Standing:
    """Return what a pseudonym is to the cooperative."""
    member = register.members.get(pseudonym or "")
    if member is None:
        return "outside"
    return "left" if member.left is not None else "suspended" if register.suspended(member) else "member"


def _with_keys(register: Register, pseudonym: str | None) -> str:
    """Return what an account is: a member's, with these keys in force, or in force when they left, or nobody's; as a digest, which is kept."""
    member = register.members.get(pseudonym or "")
    return sha256(dumps([] if member is None else [member.id, *([] if member.left is None else ["left"]), *(raw.hex() for raw in sorted(member.keys))]))


def _asked_for_it(service: Service, session: str, member: str | None) -> bool:
    """Tell whether a statement that this session drafted is signed and in force; hold the register."""
    drafted = service.private.drafts.asked_by(session, member) if member else []
    return any(one.state == "logged" or service.view.positions.get(one.digest) is not None for one in drafted)


async def _here(request: Request) -> Visit:
    """Return who asks; for who brings no name of a session nothing is looked up, and no thread is waited for."""
    nameless = not request.app.state.sessions or cookie_name(request.app.state.service.settings) not in request.cookies
    return Visit(request, request.app.state.service, None) if nameless else await run_in_threadpool(visit_of, request)


Here = Annotated[Visit, Depends(_here)]

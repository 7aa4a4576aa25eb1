"""A visit: one request, who asks, and what a page may do with it. Every handler takes one, as `visit: Here`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from governance_hooks.errors import Refused
from governance_hooks.register import Register
from governance_hooks.state import Member
from portal import i18n
from portal.rendering import render
from portal.service import Service
from portal.settings import Settings
from portal.store.accounts import Account

__all__ = ["Here", "SignInFirst", "Visit", "cookie_name", "local_path", "visit_of"]


class SignInFirst(Exception):
    """A page for people who are signed in; `app` sends others to sign in and back."""


def cookie_name(settings: Settings) -> str:
    """Return the name of the session's cookie; over https one that no other host of the domain can set."""
    return "__Host-coop" if settings.secure else "coop-session"


def local_path(text: str) -> str:
    """Return a path of this site as it stands, and / for anything that could lead to another one."""
    good = text.startswith("/") and not text.startswith("//") and len(text) <= 400 and text.isascii() and text.isprintable() and "\\" not in text
    return text if good else "/"


@dataclass(slots=True)
class Visit:
    """One request."""

    request: Request
    service: Service
    account: Account | None

    @property
    def member(self) -> str | None:
        """The pseudonym of who asks, if they are a member."""
        return self.account.member if self.account else None

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
        return register.member(account.member)

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


def visit_of(request: Request) -> Visit:
    """Return who asks."""
    service: Service = request.app.state.service
    token = request.cookies.get(cookie_name(service.settings)) if request.app.state.sessions else None
    account = service.private.sessions.account(token) if token and len(token) < 100 else None
    if account is not None and account.member is None and account.asks_as is not None:
        with service.view.reading() as register:
            admitted = account.asks_as in register.members
        if admitted:  # by a statement another program appended, or just before this one was killed
            service.private.accounts.bind(account.account, account.asks_as)
            account = service.private.accounts.find(account=account.account)
    return Visit(request, service, account)


Here = Annotated[Visit, Depends(visit_of)]

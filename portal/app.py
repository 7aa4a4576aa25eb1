"""The portal's two sites, put together: the members' site, and the signing site on another domain."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from governance_hooks.errors import BadInput, CoopError, Refused
from portal import i18n, pages
from portal.api.site import PREFIX, ForPrograms, make_api
from portal.rendering import STATIC
from portal.security import BODY_S, Guard, Hosts, headers_of
from portal.service import Service
from portal.settings import Settings
from portal.unreadable import in_words
from portal.visit import RENEWED, SignInFirst, Visit, cookie_name, session_cookie, visit_of

__all__ = ["make_app"]

_STATUS = {BadInput: 422, Refused: 409}


class _Files(StaticFiles):
    """Static files; their addresses change with them, so a browser asks once."""

    def file_response(self, full_path: str | Path, *args: object, **kwargs: object) -> Response:  # type: ignore[override]
        answer = super().file_response(full_path, *args, **kwargs)  # type: ignore[arg-type]
        answer.headers["cache-control"] = "public, max-age=31536000, immutable"
        return answer


def make_app(service: Service, *, body_s: float = BODY_S) -> ASGIApp:
    """Return the application: what a server of ours serves on both hosts."""
    settings = service.settings
    main, signing = settings.hosts
    return Hosts(
        {
            main: _site(service, pages.MAIN, settings.origin, settings.signing_origin, sessions=True, body_s=body_s),
            signing: _site(service, pages.SIGNING, settings.signing_origin, settings.origin, sessions=False, body_s=body_s),
        }
    )


def _site(service: Service, parts: pages.Parts, origin: str, other: str, *, sessions: bool, body_s: float) -> ASGIApp:
    app = FastAPI(
        title="Commonweights",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # these are pages for people; programs have the API
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # addresses hold tokens
    )
    app.state.service, app.state.sessions = service, sessions
    app.mount("/static", _Files(directory=STATIC), name="static")
    if sessions:
        programs = make_api(service)
        app.state.describe = programs.openapi
        app.mount(PREFIX, ForPrograms(programs), name="api")
    for part in parts:  # not as routers in a router: what a page is asked for would be looked up among all of them, and then again
        app.router.routes.extend(part.router.routes)
    app.exception_handler(SignInFirst)(_sign_in)
    app.exception_handler(CoopError)(_explain)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http)
    headers = headers_of(secure=service.settings.secure, form_action=other, passkeys=not sessions, worker=sessions)
    packed = _Packed(_Language(_Renewed(app, service.settings)), cookie_name(service.settings), pages=sessions)
    return Guard(packed, origin=origin, cookie=cookie_name(service.settings), headers=headers, limits=service.limits, body_s=body_s)


class _Packed:
    """Compresses static files, and pages for people who are not signed in: beside a secret, the size of what is packed tells of it (BREACH).

    Files of releases stay as they are: they are hashed while they are sent, and resumed.
    """

    def __init__(self, app: ASGIApp, cookie: str, *, pages: bool) -> None:
        self._app, self._packing, self._cookie, self._pages = app, GZipMiddleware(app, minimum_size=1000, compresslevel=5), cookie, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pack = False
        if scope["type"] == "http":
            path = scope["path"]
            pack = path.startswith("/static/") or (self._pages and "/files/" not in path and self._cookie not in Headers(scope=scope).get("cookie", ""))
        await (self._packing if pack else self._app)(scope, receive, send)


class _Renewed:
    """Hands the browser the new name of a session that a visit renewed."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = scope[RENEWED] = list[str]()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and names:
                headers = MutableHeaders(scope=message)
                headers.append("set-cookie", session_cookie(self._settings, names[-1]))
                headers["cache-control"] = "no-store"
            await send(message)

        await self._app(scope, receive, answer)


class _Language:
    """Sets the language of a request, and keeps one that was asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        asked = request.query_params.get("lang")
        i18n.use(i18n.choose(asked, request.cookies.get("lang"), request.headers.get("accept-language")))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and asked in i18n.LANGUAGES:
                MutableHeaders(scope=message).append("set-cookie", f"lang={asked}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly")
            await send(message)

        await self._app(scope, receive, answer)


async def _asker(request: Request) -> Visit:
    """Return who asks; nobody, where the private store cannot say."""
    try:
        return await run_in_threadpool(visit_of, request)
    except CoopError:
        return Visit(request, request.app.state.service, None)


async def _sign_in(request: Request, _: Exception) -> Response:
    visit = await _asker(request)
    return visit.go(visit.signing_in)


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, CoopError)
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 503)
    return (await _asker(request)).page("error.html", status, error=error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _explain(request, in_words(error))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {
        404: i18n.gettext("There is no such page."),
        405: i18n.gettext("This page cannot be used like that."),
        429: i18n.gettext("Too many at once. Please wait a minute."),
    }
    return (await _asker(request)).page("error.html", error.status_code, error=CoopError(words.get(error.status_code, i18n.gettext("This cannot be done."))))

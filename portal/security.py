"""What stands before every page: which host asks, from where, how much and how slowly; and the headers a browser is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.limits import Limits, network
from portal.problem import problem

__all__ = ["API", "BODY_BYTES", "BODY_S", "Guard", "Hosts", "headers_of"]

BODY_BYTES = 512 * 1024
"""Largest body of a request: a form with a prompt and an answer of 100,000 bytes each, every one written as %XX, fits."""
BODY_S = 20.0
"""A body that takes longer to arrive is refused, seconds."""

API = "/api/"
"""What programs ask for is below this path."""

_FORM = ("", "application/x-www-form-urlencoded")
"""What the forms of our pages send; no page sends a file. A multipart body names its own charset, and some of Python's take a minute for 512 KiB."""
_UNREAD = (API, "/unsubscribe/")
"""Below these, no body is read as a form. Mail programs send the one click as multipart (RFC 8058, 3.1)."""

_SAFE = ("GET", "HEAD", "OPTIONS")


def headers_of(*, secure: bool, form_action: str, passkeys: bool, worker: bool) -> dict[str, str]:
    """Return the security headers of a site.

    Args:
        secure: whether it is served over https.
        form_action: the other origin its forms may end up at, by a redirect.
        passkeys: whether its pages may use passkeys.
        worker: whether its pages may have one, for when there is no network.
    """
    own = "(self)" if passkeys else "()"
    policy = [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        f"form-action 'self' {form_action}",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        *(("worker-src 'self'", "trusted-types coop-offline") if worker else ("trusted-types 'none'",)),
    ]
    return {
        "content-security-policy": "; ".join(policy),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": f"camera=(), microphone=(), geolocation=(), payment=(), publickey-credentials-get={own}, publickey-credentials-create={own}",
        **({"strict-transport-security": "max-age=63072000; includeSubDomains"} if secure else {}),
    }


class Hosts:
    """Sends a request to the site of its Host header; any other host is refused, so that no link is ever made from one."""

    def __init__(self, sites: dict[str, ASGIApp]) -> None:
        self._sites = sites

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "lifespan":  # nothing of ours waits for it
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        hosts = Headers(scope=scope).getlist("host")
        site = self._sites.get(hosts[0].lower()) if len(hosts) == 1 else None
        if site is None:
            await PlainTextResponse("no site of this name is here\n", 421)(scope, receive, send)
        else:
            await site(scope, receive, send)


class Guard:
    """Refuses what another site sends, what is too big, too slow or too often; adds the headers to every answer."""

    def __init__(self, app: ASGIApp, *, origin: str, cookie: str, headers: dict[str, str], limits: Limits, body_s: float = BODY_S) -> None:
        self._app, self._origin, self._cookie, self._headers, self._limits, self._body_s = app, origin, cookie, headers, limits, body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            status, why = refusal
            await _refused(scope, status, why, {"retry-after": "60"} if status == 429 else {})(scope, receive, answer)
            return
        body = _Body(receive, self._body_s)
        started = False

        async def once(message: Message) -> None:
            nonlocal started
            if body.broken is not None and not started:  # whatever the page made of it
                return
            started = True
            await answer(message)

        with contextlib.suppress(_Broken):
            await self._app(scope, body.receive, once)
        if body.broken is not None and not started:
            status, why = body.broken
            await _refused(scope, status, why, {"connection": "close"})(scope, receive, answer)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return why a request is refused before anything of it is read."""
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or len(length) > 12 or int(length) > BODY_BYTES:
            return 413, f"a request may have {BODY_BYTES} bytes"
        if scope["method"] in _SAFE:
            return None
        if headers.get("content-type", "").partition(";")[0].strip().lower() not in _FORM and not scope["path"].startswith(_UNREAD):
            return 415, "a form is sent as application/x-www-form-urlencoded"
        # Every browser of today says where a request comes from (Fetch Metadata), and older ones name the origin of a POST. A program
        # that says neither carries no cookie of ours, and what it hands in is signed.
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        own = site == "same-origin" or (site is None and origin == self._origin)
        if not own and (site is not None or origin is not None or self._cookie in headers.get("cookie", "")):
            return 403, "this request came from another site"
        if not self._limits.allows("write", network(scope.get("client"))):
            return 429, "too many requests; wait a minute"
        return None


def _refused(scope: Scope, status: int, why: str, headers: dict[str, str]) -> Response:
    """Return a refusal as who asks reads it: programs of the API get problem details."""
    if not scope["path"].startswith(API):
        return PlainTextResponse(why + "\n", status, headers)
    answer = problem(status, why)
    answer.headers.update(headers)
    return answer


class _Broken(Exception):
    """A body that is not read to its end."""


class _Body:
    """Reads a request's body, and breaks off where it is too big or too slow, whether its length was announced or not."""

    def __init__(self, receive: Receive, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._receive, self._clock = receive, clock
        self._until, self._read, self._ended = clock() + seconds, 0, False
        self.broken: tuple[int, str] | None = None

    async def receive(self) -> Message:
        if self._ended:  # afterwards only the end of the connection is waited for
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._until - self._clock()))
        except TimeoutError:
            self.broken = 408, "the request took too long to arrive"
            raise _Broken from None
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
            if self._read > BODY_BYTES:
                self.broken = 413, f"a request may have {BODY_BYTES} bytes"
                raise _Broken
        return message

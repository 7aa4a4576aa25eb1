"""A real browser with a virtual authenticator, in front of a real server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import BrowserContext, Page, sync_playwright
from starlette.types import ASGIApp

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 180_000
"""So long a browser may take for anything, on a machine that stands still now and then."""
PATIENT = "AbortSignal.timeout = () => new AbortController().signal"
"""Nor does the outbox take an answer for lost that is only late."""
AUTHENTICATOR = {
    "protocol": "ctap2",
    "ctap2Version": "ctap2_1",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
    "defaultBackupEligibility": True,
    "defaultBackupState": True,
}


@contextmanager
def serving(app: ASGIApp, port: int) -> Iterator[None]:
    """Serve an application on this machine, under both of its names."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, host="localhost", server_header=False, log_level="warning"))
    bound = [socket.create_server(("127.0.0.1", port)), socket.create_server(("::1", port), family=socket.AF_INET6)]
    thread = threading.Thread(target=server.run, args=(bound,))
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def browser(profile: Path, *, arguments: Sequence[str] = (), **settings: Any) -> Iterator[BrowserContext]:
    """Open a browser whose profile is empty."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile), executable_path="/usr/bin/chromium", headless=True, args=[*ARGUMENTS, *arguments], timeout=PATIENCE_MS, **settings
        )
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(PATIENT)
        try:
            yield context
        finally:
            context.close()


class Authenticator:
    """The phone or the security key of a page: it makes passkeys and signs when a page of their domain asks."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("WebAuthn.enable", {"enableUI": False})
        self.id = self._session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})["authenticatorId"]

    def credentials(self) -> list[dict[str, Any]]:
        """The passkeys it holds."""
        return list(self._session.send("WebAuthn.getCredentials", {"authenticatorId": self.id})["credentials"])

    def recognise(self, user: bool) -> None:
        """Whether it knows its user by finger or PIN."""
        self._session.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": user})

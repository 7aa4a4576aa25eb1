"""A browser on a phone, whose network goes and comes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from tests.portal.conftest import Portal

KEPT = ["/offline/en", "/static/draft.js", "/static/icon.svg", "/static/outbox.js", "/static/portal.css"]
"""What the worker keeps for a time without a network."""


class Phone:
    """A browser in front of a portal, and what it had to say."""

    def __init__(self, portal: Portal, context: Any) -> None:
        self.portal, self.context, self.page, self.heard = portal, context, context.new_page(), list[str]()
        self.main = portal.service.settings.origin
        self.page.on("pageerror", lambda error: self.heard.append(str(error)))
        self.page.on("console", lambda one: self.heard.append(one.text) if one.type == "error" and "ERR_" not in one.text else None)

    def begin(self, number: int) -> str:
        """Sign in as a founder, without the pages for that."""
        sessions, mail = self.portal.service.private.sessions, f"founder{number}@village.example"
        token, account, _ = sessions.sign_in(sessions.make_link(mail, "en", "/"), None)
        if account.member is None:
            self.portal.service.private.accounts.bind(account.account, self.portal.members[number])
        self.context.add_cookies([{"name": "coop-session", "value": token, "url": self.main}])
        return str(account.account)

    def open(self, path: str = "/", *, worker: bool = True) -> None:
        self.page.goto(self.main + path)
        if worker:
            self.wait("navigator.serviceWorker.controller !== null && navigator.serviceWorker.controller.state === 'activated'")

    def wait(self, script: str) -> None:
        """Ask until it is so; Playwright's own way evaluates text in the page, which its policy forbids."""
        self.wait_until(lambda: bool(self.page.evaluate(script)))

    def wait_until(self, so: Callable[[], bool]) -> None:
        until = time.monotonic() + 180
        while not so():
            assert time.monotonic() < until, self.page.inner_text("body")
            self.page.wait_for_timeout(50)

    def sign_out(self) -> None:
        self.page.goto(self.main + "/account")
        self.page.get_by_role("button", name="Sign out", exact=True).click()
        self.page.get_by_role("link", name="Sign in").first.wait_for()
        self.wait_until(lambda: self.workers() == 0 and self.kept() == [])  # the worker goes, and what it kept, beside the page

    def write(self, words: str) -> None:
        self.page.get_by_label("A question or a task").fill(words)
        self.page.get_by_label("The answer, as you would give it").fill(f"The answer to {words}")
        self.page.get_by_label(re.compile("^Its language")).fill("eng")
        self.page.get_by_role("button", name="Put it into the basket").click()

    def kept(self) -> list[str]:
        """Every address in every cache."""
        script = "async () => { const found = []; for (const place of await caches.keys()) for (const one of await (await caches.open(place)).keys()) found.push(new URL(one.url).pathname); return found.sort() }"
        return list(self.page.evaluate(script))

    def workers(self) -> int:
        return int(self.page.evaluate("async () => (await navigator.serviceWorker.getRegistrations()).length"))

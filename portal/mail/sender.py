"""The sender: takes letters out of the outbox, hands them to a mail server, and tries again later what it did not take."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from email.message import EmailMessage
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

import aiosmtplib

from governance_hooks.errors import BadInput, CoopError
from governance_hooks.statement import shift
from portal.mail.letters import message_of
from portal.mail.reminders import remind, still_wanted
from portal.service import Service

__all__ = ["Sender", "by_smtp", "on_the_terminal"]

Deliver = Callable[[EmailMessage], None]

KEEP_S = 30 * 86_400
"""What went out, or never will, is forgotten after this time, seconds."""


def by_smtp(url: str, *, timeout_s: float = 30) -> Deliver:
    """Return the delivery to a server, `smtp://USER:PASSWORD@HOST:PORT` (STARTTLS if it offers it) or `smtps://...`; raise BadInput for another URL."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in ("smtp", "smtps") or not host:
        raise BadInput("this is no address of a mail server", allowed="smtp://HOST[:PORT] or smtps://USER:PASSWORD@HOST", next="set COOP_SMTP_URL")

    def deliver(message: EmailMessage) -> None:
        asyncio.run(
            aiosmtplib.send(
                message,
                hostname=host,
                port=port or (465 if parts.scheme == "smtps" else 25),
                username=unquote(parts.username) if parts.username else None,
                password=unquote(parts.password) if parts.password else None,
                use_tls=parts.scheme == "smtps",
                timeout=timeout_s,
            )
        )

    return deliver


def on_the_terminal(message: EmailMessage) -> None:
    """Print a letter: for whoever tries the portal out on their own machine."""
    print(f"\n--- mail to {message['To']}: {message['Subject']}\n{message.get_content()}---", file=sys.stderr, flush=True)


class Sender:
    """A thread that sends what waits.

    Args:
        service: the portal.
        deliver: hands one message over, or raises.
        every_s: pause between two looks, seconds.
    """

    def __init__(self, service: Service, deliver: Deliver, *, every_s: float = 2) -> None:
        self._service, self._deliver, self._every_s = service, deliver, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="portal-mail", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def round(self) -> int:
        """Send what is due now and return how many letters went out."""
        outbox, sent = self._service.private.outbox, 0
        for letter in outbox.due():
            if not still_wanted(self._service, letter):
                outbox.sent(letter.number)  # taken off the list: nobody is to read it
                continue
            try:
                self._deliver(message_of(self._service, letter))
            except Exception as error:  # whatever a server or a network does: this letter waits, the others go on
                outbox.failed(letter.number, f"{type(error).__name__}: {error}")
                continue
            outbox.sent(letter.number)
            sent += 1
        return sent

    def _run(self) -> None:
        rounds = 0
        while not self._stop.wait(self._every_s):
            try:
                if rounds % 30 == 0:
                    remind(self._service)
                    self._service.private.outbox.forget_old(shift(self._service.clock(), -KEEP_S))
                self.round()
            except CoopError as error:  # a database that is away for a while
                logging.getLogger(__name__).warning("mail waits: %s", error.what)
            rounds += 1

"""The postman: takes what is due from the outbox to the mail server, one connection for what there is, and comes back for what failed."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from email.errors import MessageError
from email.message import EmailMessage
from functools import partial
from typing import Final

import aiosmtplib

from governance_hooks.errors import CoopError
from governance_hooks.statement import shift
from portal.mail.answers import UNWRITTEN, answer
from portal.mail.letters import NOTICES, message_of
from portal.mail.reminders import remind, still_needed
from portal.mail.smtp import Smtp
from portal.service import Service
from portal.store.outbox import Letter
from portal.unsigned import forget_reasons, forget_unsigned

__all__ = ["Sender", "sending"]

_TIMEOUT_S: Final = 30.0
_REMIND_S: Final = 60.0
_KEEP_S: Final = 30 * 86_400
"""What went out, or never will, is forgotten after this time."""
_LONGEST_PAUSE_S: Final = 300.0
_say = logging.getLogger(__name__)


async def _print(message: EmailMessage, to: str) -> None:
    body = message.get_body(("plain",))
    print(f"\n--- mail to {to}: {message['Subject']}\n{body.get_content() if body else ''}---", file=sys.stderr, flush=True)


def _ring(loop: asyncio.AbstractEventLoop, bell: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the postman has gone home
        loop.call_soon_threadsafe(bell.set)


class Sender:
    """Sends what is in the outbox.

    Args:
        service: the portal.
        smtp: the server that takes its mail; None prints it, for whoever tries the portal out on their own machine.
    """

    def __init__(self, service: Service, smtp: Smtp | None) -> None:
        self._service, self._smtp = service, smtp

    async def send_due(self) -> int:
        """Send the letters that are due; return how many a server took.

        Raises:
            aiosmtplib.SMTPException, OSError: no server takes mail now. No letter is to blame, and none counts a try.
        """
        outbox, sent = self._service.private.outbox, 0
        letters = [letter for letter in await asyncio.to_thread(outbox.due) if await self._wanted(letter)]
        if not letters:
            return 0
        if self._smtp is None:
            for letter in letters:
                sent += await self._send(_print, letter)
            return sent
        async with self._connection(self._smtp) as server:

            async def hand_over(message: EmailMessage, to: str) -> None:
                await server.send_message(message, sender=self._service.settings.mail_from, recipients=[to])

            for letter in letters:
                sent += await self._send(hand_over, letter)
        return sent

    def _connection(self, smtp: Smtp) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=smtp.host,
            port=smtp.port,
            use_tls=smtp.tls,
            start_tls=None if smtp.here else not smtp.tls,  # None: if the server offers it
            username=smtp.user,
            password=smtp.password,
            timeout=_TIMEOUT_S,
        )

    async def _wanted(self, letter: Letter) -> bool:
        if await asyncio.to_thread(still_needed, self._service, letter):
            return True
        await asyncio.to_thread(self._service.private.outbox.dropped, letter.number)
        return False

    async def _send(self, hand_over: Callable[[EmailMessage, str], Awaitable[None]], letter: Letter) -> bool:
        outbox = self._service.private.outbox
        if not await self._wanted(letter):  # who votes while the letters before are on their way gets none
            return False
        try:
            stop = await asyncio.to_thread(self._stop, letter) if letter.template in NOTICES else None
            name = self._service.view.register.name
            message = message_of(letter, sender=self._service.settings.mail_from, name=name, stop=stop)
            await hand_over(message, letter.mail)
        except aiosmtplib.SMTPRecipientsRefused as error:
            first = error.recipients[0]
            for_good = all(500 <= one.code < 600 for one in error.recipients)
            await asyncio.to_thread(outbox.failed, letter.number, answer(first.code, first.message), for_good=for_good)
        except aiosmtplib.SMTPResponseException as error:
            await asyncio.to_thread(outbox.failed, letter.number, answer(error.code, error.message), for_good=500 <= error.code < 600)
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError):
            # It took the ones before: perhaps it breaks off at this one, as where it asks a server that never answers. The next time others go first.
            await asyncio.to_thread(outbox.failed, letter.number, answer(421, ""))
            raise
        except (CoopError, ValueError, LookupError, MessageError, aiosmtplib.SMTPNotSupported):  # a letter that cannot be written must not keep others waiting
            await asyncio.to_thread(outbox.failed, letter.number, UNWRITTEN, for_good=True)
        else:
            await asyncio.to_thread(outbox.sent, letter.number)
            return True
        return False

    def _stop(self, letter: Letter) -> str | None:
        account = self._service.private.accounts.find(mail=letter.mail)
        return None if account is None else f"{self._service.settings.origin}/unsubscribe/{self._service.tokens.dumps(account.account)}"

    async def run(self, stop: asyncio.Event, every_s: float = 2.0) -> None:
        """Send and remind until told to stop."""
        pause, since, post, ring = every_s, _REMIND_S, self._service.post, asyncio.Event()
        loop = asyncio.get_running_loop()
        post.server = None if self._smtp is None else f"{self._smtp.host}:{self._smtp.port}"
        post.working, post.bell = True, partial(_ring, loop, ring)
        while not stop.is_set():
            ring.clear()
            try:
                if since >= _REMIND_S:
                    since = 0.0
                    await asyncio.to_thread(remind, self._service)
                    await asyncio.to_thread(self._service.private.outbox.forget_old, shift(self._service.clock(), -_KEEP_S))
                    await asyncio.to_thread(self._service.private.sessions.expire)
                    await asyncio.to_thread(forget_unsigned, self._service)
                    await asyncio.to_thread(forget_reasons, self._service)
                await self.send_due()
                pause, post.trouble, post.next_try = every_s, None, None
            except (aiosmtplib.SMTPException, OSError, CoopError) as error:  # a server or a database that is away for a while
                pause = min(_LONGEST_PAUSE_S, pause * 2)
                post.trouble, post.next_try = type(error).__name__, shift(self._service.clock(), int(pause))
                _say.warning("no mail goes out: %s; next try in %.0f s", type(error).__name__, pause)
            since += pause
            waits = [asyncio.ensure_future(one.wait()) for one in (stop, ring)]
            await asyncio.wait(waits, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            for one in waits:
                one.cancel()


@contextmanager
def sending(service: Service, smtp: Smtp | None, every_s: float = 2.0) -> Iterator[None]:
    """Have mail sent in a thread of its own."""
    ready, told = threading.Event(), list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()

    async def work() -> None:
        stop = asyncio.Event()
        told.append((asyncio.get_running_loop(), stop))
        ready.set()
        try:
            await Sender(service, smtp).run(stop, every_s)
        finally:
            service.post.working = False

    thread = threading.Thread(target=lambda: asyncio.run(work()), name="mail")
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        loop, stop = told[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(_TIMEOUT_S * 2)

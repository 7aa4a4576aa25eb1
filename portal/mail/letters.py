"""Letters as messages: a subject and plain words in the reader's language, and one click to hear no more."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from urllib.parse import urlsplit

from portal import i18n
from portal.rendering import environment
from portal.service import Service
from portal.store.outbox import Letter

__all__ = ["WANTED", "message_of"]

WANTED = ("signin", "admitted")
"""Letters somebody asked for: they have no unsubscribe link."""


def message_of(service: Service, letter: Letter) -> EmailMessage:
    """Return a letter as a message; raise ValueError for an address or a subject that would add headers (EmailMessage does)."""
    i18n.use(letter.language)
    account = None if letter.template in WANTED else service.private.accounts.find(mail=letter.mail)
    stop = f"{service.settings.origin}/unsubscribe/{service.tokens.dumps(account.account)}" if account else ""
    with service.view.reading() as register:
        name = register.name
    text = environment().get_template(f"mail/{letter.template}.txt").render(name=name, stop=stop, **letter.values)
    subject, _, body = text.strip().partition("\n")
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = subject.strip(), service.settings.mail_from, letter.mail
    made["Date"], made["Message-ID"] = format_datetime(datetime.now(UTC)), make_msgid(domain=urlsplit(service.settings.origin).hostname or "localhost")
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notes in return
    if stop:
        made["List-Unsubscribe"], made["List-Unsubscribe-Post"] = f"<{stop}>", "List-Unsubscribe=One-Click"  # RFC 8058
    made.set_content(body.strip() + "\n")
    return made

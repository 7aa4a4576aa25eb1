"""What a letter says: in the reader's language, as plain text first and the same as HTML; never what anybody voted."""

from __future__ import annotations

import contextvars
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import localtime
from html import escape
from typing import Final

from governance_hooks.errors import BadInput
from portal import i18n
from portal.i18n import gettext as _
from portal.i18n import ngettext, when
from portal.log_words import kind_of, reason_in_words
from portal.store.outbox import Letter

__all__ = ["NOTICES", "SECURITY", "message_of"]

NOTICES: Final = frozenset({"opened", "reminder", "signed"})
"""Letters that somebody can do without: they carry a link that ends them."""
SECURITY: Final = frozenset({"coop.key/v1", "coop.rotation/v1", "coop.guardians/v1", "coop.recovery/v1", "coop.recovery-cancel/v1"})
"""Statements about somebody's keys. They are always told: who got into a mailbox or an account must not be able to silence them first."""


@dataclass(frozen=True, slots=True)
class _Said:
    subject: str
    lines: tuple[str, ...]
    act: str
    """What the link does."""


def _signin(values: dict[str, str]) -> _Said:
    minutes = int(values["minutes"])
    return _Said(
        _("Sign in"),
        (
            _("Somebody, hopefully you, asked to sign in with this address."),
            ngettext("The link works once, for %(num)s minute.", "The link works once, for %(num)s minutes.", minutes) % {"num": i18n.number(minutes)},
            _("If it was not you, do nothing: without this mail nobody gets in. Do not pass the link on."),
        ),
        _("Sign in"),
    )


def _signed(values: dict[str, str]) -> _Said:
    return _Said(
        _("Your key signed something"),
        (
            _("A statement signed by your key is in the log now, as entry %(number)s: %(kind)s.")
            % {"number": values["entry"], "kind": kind_of(values["kind"])},
            _("If that was you, there is nothing to do. If not, somebody has your key: end it at once on the page of your keys, and tell other members."),
        ),
        _("Your receipt"),
    )


def _security(values: dict[str, str]) -> _Said:
    always = _("This mail cannot be switched off: by it you learn that somebody takes over your keys.")
    stop = _("If that is not you, stop it at once with any key you still have, on the page of your keys, and tell other members.")
    match values["kind"]:
        case "coop.recovery/v1":
            begun = _("Somebody asked for a new key for you, and others agreed. After a delay it puts all your keys out of force.")
            return _Said(_("A recovery of your keys has begun"), (begun, stop, always), _("Look at your keys"))
        case "soon":
            soon = _("In less than a day a new key takes the place of all your keys.")
            return _Said(_("A recovery of your keys takes effect soon"), (soon, stop, always), _("Look at your keys"))
        case "recovered":
            done = _("A new key is in force for you, and all older ones are out of force. Whoever was signed in with your account was signed out.")
            help_ = _("If that was not you, speak with registrars and other members at once.")
            return _Said(_("A new key is in force for you"), (done, help_, always), _("Look at your keys"))
    said = _("About your keys, entry %(number)s of the log: %(kind)s.") % {"number": values["entry"], "kind": kind_of(values["kind"])}
    out = _("If your keys changed, other browsers that were signed in with your account were signed out.")
    was = _("If that was you, there is nothing to do. If not, somebody has your key: end it at once on the page of your keys, and tell other members.")
    return _Said(_("Something about your keys changed"), (said, was, out, always), _("Look at your keys"))


def _admitted(values: dict[str, str]) -> _Said:
    return _Said(
        _("You are a member"),
        (_("You were admitted to the cooperative."), _("You have one vote. Nothing of yours is used until you allow it.")),
        _("What needs you"),
    )


def _declined(values: dict[str, str]) -> _Said:
    asked = {"admission": _("A registrar declined your request to join: %(why)s."), "recovery": _("A registrar declined your request for a new key: %(why)s.")}
    return _Said(
        _("Your request was declined"),
        (asked[values["about"]] % {"why": reason_in_words(values["reason"])}, _("Other registrars can still agree. The page says what you can do.")),
        _("Look at it"),
    )


def _opened(values: dict[str, str]) -> _Said:
    return _Said(
        _("A vote is open: %(title)s") % {"title": values["title"]},
        (_("Members decide now: %(title)s") % {"title": values["title"]}, _("The vote ends on %(when)s.") % {"when": when(values["closes"])}),
        _("Read and vote"),
    )


def _reminder(values: dict[str, str]) -> _Said:
    return _Said(
        _("A vote ends soon: %(title)s") % {"title": values["title"]},
        (
            _("You have not voted yet: %(title)s") % {"title": values["title"]},
            _("The vote ends on %(when)s.") % {"when": when(values["closes"])},
            _("There is one such mail for a vote, and none once you have voted."),
        ),
        _("Read and vote"),
    )


_LETTERS: Final[dict[str, Callable[[dict[str, str]], _Said]]] = {
    "signin": _signin,
    "signed": _signed,
    "security": _security,
    "admitted": _admitted,
    "declined": _declined,
    "opened": _opened,
    "reminder": _reminder,
}


def message_of(letter: Letter, *, sender: str, name: str, stop: str | None) -> EmailMessage:
    """Return a letter as it goes out; raise BadInput for one nobody wrote.

    Args:
        letter: from the outbox.
        sender: address it comes from.
        name: of the cooperative.
        stop: address that ends such letters, for a notice.
    """
    if letter.template not in _LETTERS:
        raise BadInput("there is no such letter", value=letter.template, allowed=", ".join(_LETTERS))
    return contextvars.copy_context().run(_written, letter, sender, name, stop)


def _one_line(text: str) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _written(letter: Letter, sender: str, name: str, stop: str | None) -> EmailMessage:
    i18n.use(i18n.choose(letter.language))
    said, url = _LETTERS[letter.template](letter.values), letter.values["url"]
    made = EmailMessage()
    made["From"] = Address(_one_line(name)[:80], addr_spec=sender)
    made["To"] = Address(addr_spec=letter.mail)
    made["Subject"] = f"{_one_line(said.subject)[:150]} · {_one_line(name)[:80]}"
    made["Date"] = localtime()
    # The same letter always has the same id: if we stop between the server's yes and our note of it, the copy is known for one.
    made["Message-ID"] = f"<{hashlib.sha256(f'{letter.event} {letter.mail}'.encode()).hexdigest()[:40]}@{sender.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    ends = [_("No more such mail: %(url)s") % {"url": stop}] if stop else []
    if stop:
        made["List-Unsubscribe"] = f"<{stop}>"
        made["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    made.set_content("\n\n".join([*said.lines, f"{said.act}:\n{url}", *ends, f"-- \n{name}"]) + "\n")
    end = f'<p><small><a href="{escape(stop)}">{escape(_("No more such mail"))}</a></small></p>' if stop else ""
    paragraphs = "".join(f'<p dir="auto">{escape(line)}</p>' for line in said.lines)
    made.add_alternative(
        f'<!doctype html><html lang="{i18n.current()}" dir="{i18n.direction()}"><head><meta charset="utf-8"><title>{escape(said.subject)}</title></head>'
        f'<body>{paragraphs}<p><a href="{escape(url)}">{escape(said.act)}</a></p><p>{escape(name)}</p>{end}</body></html>\n',
        subtype="html",
    )
    made["Content-Language"] = i18n.current()  # last: making it multipart would move it to the first part
    return made

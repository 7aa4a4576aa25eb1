"""Who is told of a vote: members on its roll who want mail and have not voted, when a long one opens, and when a day or half of a short one is left."""

from __future__ import annotations

import contextvars
from datetime import datetime
from typing import Final

from governance_hooks.state import Proposal
from governance_hooks.statement import shift
from portal import i18n
from portal.mail.letters import NOTICES
from portal.proposal_rows import title_of
from portal.service import Service
from portal.store.accounts import Account
from portal.store.outbox import Letter

__all__ = ["remind", "still_needed"]

_DAY_S: Final = 86_400


def _event(one: Proposal, now: str) -> str | None:
    """Return which letter about a vote is due: a vote of less than two days is called once."""
    span = (datetime.fromisoformat(one.closes) - datetime.fromisoformat(one.issued)).total_seconds()
    if now >= shift(one.closes, -int(min(_DAY_S, span / 2))):
        return "reminder"
    return "opened" if span >= 2 * _DAY_S else None


def _title(service: Service, one: Proposal, language: str) -> str:
    i18n.use(language)
    return title_of(service, one)[:160]


def remind(service: Service) -> int:
    """Put the reminders that are due into the outbox; return how many are new."""
    now, found = service.clock(), list[tuple[Account, Proposal, str, str]]()
    with service.view.reading() as register:
        running = [one for one in register.proposals.values() if one.closed is None and now < one.closes]
        waiting = [(one, event) for one in running if (event := _event(one, now)) is not None]
        if not waiting:
            return 0
        accounts = [one for one in service.private.accounts.members() if one.notices]
        for one, event in waiting:
            for account in accounts:
                if account.member in one.roll and account.member not in one.votes and account.member in register.active():
                    title = contextvars.copy_context().run(_title, service, one, i18n.choose(account.language))
                    found.append((account, one, event, title))
    new = 0
    for account, one, event, title in found:
        values = {
            "url": f"{service.settings.origin}/proposals/{one.id}",
            "title": title,
            "closes": one.closes,
            "proposal": one.id,
        }
        new += service.private.outbox.put(f"{event}:{one.id}", account.mail, account.language, event, values)
    return new


def still_needed(service: Service, letter: Letter) -> bool:
    """Tell whether a letter shall go out now: no reminder to who voted meanwhile, nor after the end, and no notice to who wants none."""
    if letter.template not in NOTICES:
        return True
    account = service.private.accounts.find(mail=letter.mail)
    if account is None or not account.notices:
        return False
    if letter.template == "signed":
        return True
    with service.view.reading() as register:
        one = register.proposals.get(letter.values["proposal"])
        return one is not None and one.closed is None and service.clock() < one.closes and account.member in one.roll and account.member not in one.votes

"""Who is reminded of a vote: members on its roll who want mail and have not voted, once, when half of the time or a day is left."""

from __future__ import annotations

import contextvars
from datetime import datetime
from typing import Final

from governance_hooks.state import Proposal
from governance_hooks.statement import shift
from portal import i18n
from portal.proposal_rows import title_of
from portal.service import Service
from portal.store.accounts import Account
from portal.store.outbox import Letter

__all__ = ["remind", "still_needed"]

_DAY_S: Final = 86_400


def _due(one: Proposal) -> str:
    span = (datetime.fromisoformat(one.closes) - datetime.fromisoformat(one.issued)).total_seconds()
    return shift(one.closes, -int(min(_DAY_S, span / 2)))


def _title(service: Service, one: Proposal, language: str) -> str:
    i18n.use(language)
    return title_of(service, one)[:160]


def remind(service: Service) -> int:
    """Put the reminders that are due into the outbox; return how many are new."""
    now, found = service.clock(), list[tuple[Account, Proposal, str]]()
    with service.view.reading() as register:
        waiting = [one for one in register.proposals.values() if one.closed is None and _due(one) <= now < one.closes]
        if not waiting:
            return 0
        accounts = [one for one in service.private.accounts.members() if one.notices]
        for one in waiting:
            for account in accounts:
                if account.member in one.roll and account.member not in one.votes and account.member in register.active():
                    title = contextvars.copy_context().run(_title, service, one, i18n.choose(account.language))
                    found.append((account, one, title))
    new = 0
    for account, one, title in found:
        values = {
            "url": f"{service.settings.origin}/proposals/{one.id}",
            "title": title,
            "closes": one.closes,
            "proposal": one.id,
            "member": account.member or "",
        }
        new += service.private.outbox.put(f"reminder:{one.id}", account.mail, account.language, "reminder", values)
    return new


def still_needed(service: Service, letter: Letter) -> bool:
    """Tell whether a letter shall go out now: no reminder to who voted meanwhile, nor after the end, and no notice to who wants none."""
    if letter.template not in ("reminder", "signed"):
        return True
    account = service.private.accounts.find(mail=letter.mail)
    if account is None or not account.notices:
        return False
    if letter.template == "signed":
        return True
    with service.view.reading() as register:
        one = register.proposals.get(letter.values["proposal"])
        return one is not None and one.closed is None and service.clock() < one.closes and account.member in one.roll and account.member not in one.votes

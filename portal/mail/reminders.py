"""Who is told of a vote: members on its roll who want mail and have not voted, when a long one opens, and when a day or half of a short one is left."""

from __future__ import annotations

import contextvars
from datetime import datetime
from typing import Final

from governance_hooks.state.proposals import Proposal
from governance_hooks.statement import shift
from portal import i18n
from portal.mail.letters import NOTICES
from portal.proposal_rows import title_of
from portal.service import Service
from portal.store.accounts import Account
from portal.store.outbox import Letter

__all__ = ["calls", "remind", "still_needed"]

_DAY_S: Final = 86_400
_TOLD_S: Final = 7 * _DAY_S
"""A recovery that took effect longer ago is not mailed about any more: the outbox forgets after 30 days that it was."""


def calls(one: Proposal) -> dict[str, str]:
    """Return which letters there are about a vote and from when on each goes out: a vote of less than two days is called once."""
    span = (datetime.fromisoformat(one.closes) - datetime.fromisoformat(one.issued)).total_seconds()
    opened = {"opened": one.issued} if span >= 2 * _DAY_S else {}
    return opened | {"reminder": shift(one.closes, -int(min(_DAY_S, span / 2)))}


def _event(one: Proposal, now: str) -> str | None:
    """Return which letter about a vote is due, the later one if both are."""
    return next((event for event, at in reversed(calls(one).items()) if now >= at), None)


def _title(service: Service, one: Proposal, language: str) -> str:
    i18n.use(language)
    return title_of(service, one)[:160]


def remind(service: Service) -> int:
    """Put the reminders that are due into the outbox, of votes and of keys; return how many are new."""
    return _of_keys(service) + _of_votes(service)


def _of_keys(service: Service) -> int:
    """Tell members, whatever they want mailed, that a recovery began, whoever appended it, that it takes effect within a day, and that it did."""
    now = service.clock()
    with service.view.reading() as register:
        begun = [(one.member, one.id) for one in register.recoveries.values()]
        soon = [(one.member, one.id) for one in register.recoveries.values() if one.due is not None and now >= shift(one.due, -_DAY_S)]
        done = [(member, recovery) for member, recovery, at in service.view.recovered if at >= shift(now, -_TOLD_S)]
    new = 0
    for event, kind, of in (("signed", "coop.recovery/v1", begun), ("soon", "soon", soon), ("recovered", "recovered", done)):
        for member, recovery in of:
            account = service.private.accounts.find(member=member)
            if account is not None:
                values = {"url": f"{service.settings.origin}/keys", "kind": kind, "entry": ""}
                new += service.private.outbox.put(f"{event}:{recovery}", account.mail, account.language, "security", values)
    return new


def _of_votes(service: Service) -> int:
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

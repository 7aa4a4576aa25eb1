"""Reminders: a vote that opened, and one that closes soon; only to those on its roll who have not voted, and never after they have."""

from __future__ import annotations

from governance_hooks.statement import shift
from portal.proposal_rows import title_of
from portal.service import Service
from portal.store.outbox import Letter

__all__ = ["SOON_S", "remind", "still_wanted"]

SOON_S = 86_400
"""So long before its end a vote is called again, seconds."""


def remind(service: Service) -> int:
    """Put the letters that are due now into the outbox and return how many; each goes to an address once."""
    now, written = service.clock(), 0
    accounts = [one for one in service.private.accounts.members() if one.notices]
    with service.view.reading() as register:
        running = [
            (one.id, one.closes, one.roll - one.votes.keys(), title_of(service, one)[:160])
            for one in register.proposals.values()
            if one.closed is None and now < one.closes
        ]
    for proposal, closes, missing, title in running:
        events = [("opened", f"opened:{proposal}")] + ([("closing", f"closing:{proposal}")] if shift(now, SOON_S) >= closes else [])
        for account in accounts:
            if account.member in missing:
                values = {"url": f"{service.settings.origin}/proposals/{proposal}", "title": title, "closes": closes, "proposal": proposal}
                # A vote that opens and closes within a day is called once.
                template, event = events[-1]
                written += service.private.outbox.put(event, account.mail, account.language, template, values)
    return written


def still_wanted(service: Service, letter: Letter) -> bool:
    """Tell whether a letter that waited is still to go out: no reminder reaches somebody who has voted, or when it is too late."""
    if letter.template not in ("opened", "closing"):
        return True
    account = service.private.accounts.find(mail=letter.mail)
    with service.view.reading() as register:
        found = register.proposals.get(letter.values["proposal"])
        return (
            account is not None
            and account.notices
            and found is not None
            and found.closed is None
            and service.clock() < found.closes
            and account.member in found.roll
            and account.member not in found.votes
        )

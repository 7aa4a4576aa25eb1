"""Letters: what the portal mails and to how many, what waits and why; never to whom, nor who has not voted. For whoever holds an office."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

from portal import i18n
from portal.mail.answers import in_words
from portal.mail.reminders import calls
from portal.proposal_rows import title_of
from portal.store.outbox import Sums
from portal.visit import Here, Visit

__all__ = ["FEW", "router"]

router = APIRouter(include_in_schema=False)

FEW = 5
"""Of a vote's letters no smaller number is told: with one member left to vote it would say that they want mail, or have an account."""
SHOWN = 50
"""Votes on the page, the newest first."""


@dataclass(frozen=True, slots=True)
class Call:
    """A letter about a vote: when it goes out, and to how many it did."""

    name: str
    at: str
    sums: Sums


@dataclass(frozen=True, slots=True)
class Called:
    """A vote, and the letters about it."""

    path: str
    title: str
    over: bool
    voted: int
    roll: int
    calls: list[Call]


def _letters() -> dict[str, str]:
    """Return what each kind of letter is about."""
    _ = i18n.gettext
    return {
        "signin": _("Sign in"),
        "signed": _("Your key signed something"),
        "security": _("Your keys"),
        "admitted": _("You are a member"),
        "declined": _("Your request was declined"),
        "opened": _("A vote opens"),
        "reminder": _("A vote ends soon"),
    }


@router.get("/stewards/letters")
def letters(visit: Here) -> Response:
    """Show how the mail stands."""
    with visit.register() as register:
        visit.as_officer(register)
    return _page(visit, None)


@router.post("/stewards/letters")
def hurry(visit: Here) -> Response:
    """Have everything that waits tried at once."""
    with visit.register() as register:
        member = visit.as_officer(register).id
    if not visit.service.limits.allows("hurry", member):
        raise HTTPException(429)
    hurried = visit.service.private.outbox.hurry()
    visit.service.post.bell()
    return _page(visit, hurried)


def _page(visit: Visit, hurried: int | None) -> Response:
    service, outbox = visit.service, visit.service.private.outbox
    by_event, words = outbox.by_event("opened", "reminder"), _letters()
    with visit.register() as register:
        told = {event.partition(":")[2] for event in by_event}
        about = [one for one in register.proposals.values() if one.closed is None or one.id in told][-SHOWN:]
        rows = [
            Called(
                f"/proposals/{one.id}",
                title_of(service, one)[:300],
                one.closed is not None or service.clock() >= one.closes,
                len(one.votes),
                len(one.roll),
                [Call(words[event], at, by_event.get(f"{event}:{one.id}", Sums())) for event, at in calls(one).items()],
            )
            for one in reversed(about)
        ]
    troubles = [(words.get(one.template, one.template), in_words(one.error), one) for one in outbox.troubles()]
    return visit.page("letters.html", post=service.post, sums=outbox.sums(), troubles=troubles, rows=rows, hurried=hurried, few=FEW, now=service.clock())

"""Mine: what I gave, where it went, what came of it, my stake, what I signed; and erasing my texts, and leaving. For who left: what of theirs is still kept."""

from __future__ import annotations

import itertools
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Response
from starlette.exceptions import HTTPException

from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.fields import Digest, Identifier
from governance_hooks.register import Register
from governance_hooks.stake.payout import Payout
from portal import i18n
from portal.service import Service
from portal.signing.drafting import draft, signing_path
from portal.signing.kinds import AT_ONCE, ERASURE
from portal.signing.submitting import require_own
from portal.signing.words import what_stays, words_of
from portal.visit import Here, Visit

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

PAGE = 30


@router.get("/mine")
def mine(visit: Here, page: Annotated[int, Query(ge=1, le=100_000)] = 1) -> Response:
    """Show my texts, newest first, and what I signed; to who left, what is still kept."""
    if visit.standing == "left":
        return _kept(visit, page)
    with visit.register() as register:
        member = visit.as_member(register).id
        given = [one for one in register.contributions.values() if one.author == member]
        ratings = sum(one.ratings for one in register.reviews.values() if one.author == member)
        numbers = {"texts": sum(one.records for one in given), "ratings": ratings, "votes": sum(member in one.votes for one in register.proposals.values())}
        office = member in register.office_holders()
        statements = []
        for position in visit.service.view.made[member][-10:][::-1]:
            one = visit.service.view.entry(position)
            value = loads(one.entry)["body"]
            statements.append((position, one.id, words_of(visit.service, register, value).title, one.issued))
    records = sorted(visit.service.house.contributions().records(member=member), key=lambda one: (one.created_at, one.record), reverse=True)
    shown = records[(page - 1) * PAGE : page * PAGE]
    return visit.page(
        "mine.html", numbers=numbers, office=office, records=shown, page=page, more=len(records) > page * PAGE, statements=statements, stays=what_stays()
    )


def _kept(visit: Visit, page: int) -> Response:
    """Show who left which texts and reasons of theirs are still here."""
    with visit.register() as register:
        member = visit.as_author(register)
        left, registrars = visit.service.view.entry(member.left or 0), [*register.bylaws.registrars]
    mine = visit.service.house.contributions().records(member=member.id)
    records = sorted((one for one in mine if not one.erased_at), key=lambda one: (one.created_at, one.record), reverse=True)
    written = _written(visit.service, member.id)
    return visit.page(
        "left.html",
        position=member.left,
        issued=left.issued,
        texts=len(records),
        erased=len(mine) - len(records),
        written=len(written),
        records=records[(page - 1) * PAGE : page * PAGE],
        reasons=[(one, visit.service.house.reason(one)) for one in written[(page - 1) * PAGE : page * PAGE]],
        page=page,
        at_once=AT_ONCE,
        registrars=registrars,
        more=max(len(records), len(written)) > page * PAGE,
    )


def _written(service: Service, member: str) -> list[str]:
    """Return the reasons of somebody that are still kept, those named last first."""
    with service.view.reading():
        named = [one for one, first in service.view.reasons.items() if first.author == member]
    return [one for one in reversed(named) if service.house.reason_document(one) is not None]


@router.get("/mine/where")
def where(visit: Here) -> Response:
    """Show where my texts went: builds, runs, releases, and what was left out and why."""
    with visit.register() as register:
        member = visit.as_author(register).id
    if not visit.service.limits.allows("dry", member):
        raise HTTPException(429)
    lines = visit.service.house.whereabouts(member)
    parts = [list(part) for said, part in itertools.groupby(lines, key=bool) if said]  # one for each build, with a line between
    return visit.page("where.html", parts=parts)


@router.get("/mine/stake")
def stake(visit: Here) -> Response:
    """Show the shares of each run whose shares were worked out, what I gave of each part, and my part of each payout."""
    with visit.register() as register:
        member = visit.as_author(register).id
        own = _languages(register, member)
        rows = _shares(visit.service, register, own)
        try:
            payouts: list[tuple[str, Payout, str]] | None = visit.service.house.stakes(member)
        except CoopError:
            payouts = None
    return visit.page("stake.html", rows=rows, own=own, payouts=payouts, states=payout_states())


def payout_states() -> dict[str, str]:
    """Return how far a payout can be, in words."""
    _ = i18n.gettext
    return {"paid": _("paid"), "approved, not paid yet": _("approved, not paid yet"), "voted on": _("voted on"), "a draft": _("a draft")}


def _languages(register: Register, member: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for given in register.contributions.values():
        if given.author == member:
            for language, count in given.languages.items():
                found[language] = found.get(language, 0) + count
    return dict(sorted(found.items()))


def _shares(service: Service, register: Register, own: dict[str, int]) -> list[dict[str, Any]]:
    """Return the shares of runs by language, read from each run's `stake/shares.json`; a file that is no such thing is left out."""
    rows = []
    for run in register.runs.values():
        path = service.house.root / "runs" / run.id / "stake" / "shares.json"
        if not path.is_file() or path.stat().st_size > 1 << 20:
            continue
        try:
            value = loads(path.read_bytes(), source=str(path))
            parts = [
                {
                    "guild": str(name),
                    "share_ppm": int(share["share_ppm"]),
                    "low_ppm": int(share["low_ppm"]),
                    "high_ppm": int(share["high_ppm"]),
                    "members": int(value["players"][name]["members"]),
                    "mine": str(name).partition(".")[0] in own,
                }
                for name, share in (value["shares"] or {}).items()
            ]
        except (CoopError, KeyError, TypeError, ValueError):
            continue
        rows.append({"run": run.id, "utility": str(value.get("utility", "")), "parts": parts})
    return rows


@router.post("/mine/erase")
def erase(
    visit: Here,
    records: Annotated[list[Identifier], Form(max_length=AT_ONCE, default_factory=list)],
    reasons: Annotated[list[Digest], Form(max_length=AT_ONCE, default_factory=list)],
    everything: Annotated[bool, Form()] = False,
) -> Response:
    """Draft the erasure of texts and reasons of one's own: of those that are ticked, or of everything, as much as one signature erases."""
    with visit.register() as register:
        member = visit.as_author(register).id
    if everything:
        records = [one.record for one in visit.service.house.contributions().records(member=member) if not one.erased_at][:AT_ONCE]
        reasons = _written(visit.service, member)[:AT_ONCE]
    if not records and not reasons:
        raise Refused(i18n.gettext("nothing is ticked"), next=i18n.gettext("tick what shall be erased"))
    require_own(visit.service, member, records, reasons)
    with visit.register() as register:
        made = draft(visit.service, register, ERASURE, {"records": sorted(set(records)), "reasons": sorted(set(reasons))}, member, go="/mine")
    return visit.go_sign(signing_path(made, member))


@router.post("/mine/leave")
def leave(visit: Here, sure: Annotated[str, Form(max_length=40)] = "") -> Response:
    """Draft the statement that ends one's membership."""
    with visit.register() as register:
        member = visit.as_member(register).id
        if sure.strip() != member:
            raise BadInput(i18n.gettext("to be sure, type your pseudonym"), value=sure, allowed=member)
        made = draft(visit.service, register, "coop.leave/v1", {}, member, go="/", session=visit.session)
    return visit.go_sign(signing_path(made, member))

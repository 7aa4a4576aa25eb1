"""Consent: a switch for each purpose, in plain words; what was done with it; what a withdrawal does; and the withdrawal, in one step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Form, Query, Response
from starlette.exceptions import HTTPException

from data_pipeline.language import parse_tag
from governance_hooks.canonical import sha256
from governance_hooks.consent_words import in_words
from governance_hooks.errors import BadInput, Refused
from governance_hooks.register import Register
from governance_hooks.state.consents import Grant
from governance_hooks.vocabulary import LICENCES, MEMBERS, PROCESSING, PUBLIC, PURPOSES, WORDS, covers
from portal import i18n
from portal.signing.drafting import draft, signing_path
from portal.visit import Here

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

FIRST = ("dpv:NonCommercialResearch", "dpv:PublicBenefit", "dpv:NonCommercialPurpose", "dpv:CommercialResearch", "dpv:CommercialPurpose")
"""Purposes with a switch in front; the others of the vocabulary are below them."""

_LAST_YEAR = 2099
"""Last year in which an instant of a statement can be."""

Purpose = Annotated[str, Query(pattern=r"^dpv:[A-Za-z]{1,60}$")]


@dataclass(frozen=True, slots=True)
class Switch:
    """A purpose, and whether it is allowed."""

    purpose: str
    words: str
    grant: Grant | None
    """The consent that turned it on, and would turn it off."""
    also: list[Grant]
    """Consents to a broader purpose, which cover it too."""


def standing(register: Register, member: str, now: str) -> list[Grant]:
    """Return the consents of a member that are in force."""
    return [
        grant
        for grant in register.grants.get(member, [])
        if grant.withdrawn is None and (grant.consent.expires is None or now < grant.consent.expires) and grant.left(None, register.size)
    ]


def switches(grants: list[Grant]) -> list[Switch]:
    """Return a switch for each purpose, those in front first."""
    found = []
    for purpose in (*FIRST, *(one for one in PURPOSES if one not in FIRST)):
        own = next((grant for grant in reversed(grants) if list(grant.consent.purposes) == [purpose]), None)
        also = [grant for grant in grants if grant is not own and any(covers(allowed, purpose) for allowed in grant.consent.purposes)]
        found.append(Switch(purpose, i18n.gettext(WORDS[purpose]), own, also))
    return found


def _purposes(grant: Grant) -> str:
    """Return what a consent is for, in words."""
    return i18n.listed(i18n.gettext(WORDS[one]) for one in grant.consent.purposes)


@router.get("/consent")
def consent(visit: Here) -> Response:
    """Show what is allowed, as switches, and every consent that was ever given."""
    with visit.register() as register:
        member = visit.as_member(register).id
        now = visit.service.clock()
        grants = register.grants.get(member, [])
        stands = standing(register, member, now)
        past = [(grant, in_words(grant.consent)) for grant in reversed(grants) if grant not in stands][:50]
        active = [(grant, in_words(grant.consent)) for grant in reversed(stands)]
        rows = switches(stands)
    house, front, others = visit.service.house, rows[: len(FIRST)], rows[len(FIRST) :]
    return visit.page(
        "consent.html", front=front, others=others, active=active, past=past, purposes=_purposes, notice=house.notice, notice_language=house.notice_language
    )


@router.get("/consent/give")
def choose(visit: Here, purpose: Purpose) -> Response:
    """Show the notice and the choices for one purpose."""
    if purpose not in PURPOSES:
        raise HTTPException(404)
    with visit.register() as register:
        visit.as_member(register)
    house = visit.service.house
    return visit.page(
        "consent_give.html",
        purpose=purpose,
        words=i18n.gettext(WORDS[purpose]),
        licences=LICENCES,
        notice=house.notice,
        notice_publish=house.notice_publish,
        notice_language=house.notice_language,
    )


@router.post("/consent/give")
def give(
    visit: Here,
    purpose: Annotated[str, Form(max_length=80)],
    licences: Annotated[list[str], Form(max_length=10)],
    public: Annotated[bool, Form()] = False,
    languages: Annotated[str, Form(max_length=200)] = "",
    expires: Annotated[str, Form(max_length=10)] = "",
    once: Annotated[bool, Form()] = False,
    publish: Annotated[bool, Form()] = False,
) -> Response:
    """Draft a consent to one purpose."""
    if purpose not in PURPOSES:
        raise BadInput(i18n.gettext("this is no purpose"), value=purpose, allowed=", ".join(PURPOSES))
    house = visit.service.house
    codes = sorted({_code(one) for one in languages.replace(",", " ").split()})
    with visit.register() as register:
        member = visit.as_member(register).id
        payload = {
            "purposes": [purpose],
            "processing": list(PROCESSING),
            "recipients": sorted({MEMBERS, PUBLIC} if public else {MEMBERS}),
            "licences": sorted(set(licences)),
            "scope": {"languages": codes or None, "batches": None},
            "expires": _end_of(expires, visit.service.clock()) if expires else None,
            "occurrences": 1 if once else None,
            "notice": sha256((house.notice + (house.notice_publish if publish else "")).encode()),
            "notice_language": house.notice_language,
            **({"publish": "samples"} if publish else {}),
        }
        made = draft(visit.service, register, "coop.consent/v1", payload, member, go="/consent")
    return visit.go_sign(signing_path(made, member))


def _code(text: str) -> str:
    code, tag = parse_tag(text, where=i18n.gettext("language"))
    if tag:
        raise BadInput(i18n.gettext("consent goes by language, not by script or region"), value=text[:40], allowed=code)
    return code


def _end_of(text: str, now: str) -> str:
    try:
        day = date.fromisoformat(text)
        if day.year > _LAST_YEAR:
            raise ValueError(day.year)
    except ValueError as error:
        raise BadInput(i18n.gettext("this is no date"), value=text, allowed=f"2027-12-31, until {_LAST_YEAR}-12-31") from error
    ends = f"{day.isoformat()}T23:59:59Z"
    if ends <= now:
        raise BadInput(i18n.gettext("this day is over"), value=text)
    return ends


@router.post("/consent/withdraw")
def withdraw(visit: Here, consent: Annotated[str, Form(pattern=r"^(all|sha256:[0-9a-f]{64})$")]) -> Response:
    """Draft the withdrawal of one consent, or of all."""
    with visit.register() as register:
        member = visit.as_member(register).id
        grants = [grant for grant in register.grants.get(member, []) if grant.withdrawn is None]
        if not grants or (consent != "all" and all(grant.id != consent for grant in grants)):
            raise Refused(i18n.gettext("there is no such consent of yours in force"))
        made = draft(visit.service, register, "coop.withdrawal/v1", {"consent": None if consent == "all" else consent}, member, go="/consent")
    return visit.go_sign(signing_path(made, member))


@router.get("/consent/preview")
def preview(visit: Here, consent: Annotated[str, Query(pattern=r"^(all|sha256:[0-9a-f]{64})$")] = "all") -> Response:
    """Show what withdrawing one consent, or everything, would do, and what was done with it so far; it changes nothing."""
    with visit.register() as register:
        member = visit.as_member(register).id
        grants = standing(register, member, visit.service.clock())
        grant = next((one for one in grants if one.id == consent), None)
        if grant is None and consent != "all":
            raise Refused(i18n.gettext("there is no such consent of yours in force"))
        words = [] if grant is None else in_words(grant.consent)
    if not visit.service.limits.allows("dry", member):
        raise HTTPException(429)
    done = [] if grant is None else visit.service.house.uses(member, grant.id)
    lines = visit.service.house.withdrawal(member, None if grant is None else grant.id)
    return visit.page("consent_preview.html", grant=grant, words=words, done=done, lines=lines[1:-1], active=bool(grants))

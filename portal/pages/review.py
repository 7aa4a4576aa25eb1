"""Reviewing: texts of others, drawn one at a time and without their author's name, rated, and signed for together."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Response

from data_pipeline.language import parse_tag
from data_pipeline.record import Record as Stored
from data_pipeline.reviews import RatingDraft
from governance_hooks.errors import BadInput, Refused
from governance_hooks.reviews import FLAGS
from portal import i18n
from portal.pages.contribute import Record
from portal.reading import draw, readable_record
from portal.signing.drafting import draft, signing_path
from portal.visit import Here

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


def scale() -> list[tuple[int, str]]:
    """Return the five scores in words."""
    _ = i18n.gettext
    return [(5, _("excellent")), (4, _("good")), (3, _("acceptable")), (2, _("poor")), (1, _("unusable"))]


def flags_in_words() -> dict[str, str]:
    """Return what can be said beside a score."""
    _ = i18n.gettext
    words = {
        "harmful": _("It could harm somebody"),
        "machine_made": _("A machine wrote it"),
        "no_question": _("The question or task asks for nothing"),
        "shows_a_person": _("It shows who somebody is"),
        "spam": _("It is spam"),
        "wrong_language": _("It is in another language"),
    }
    return {flag: words.get(flag, flag) for flag in FLAGS}


@router.get("/review")
def review(
    visit: Here,
    language: Annotated[str, Query(max_length=64)] = "",
    skip: Annotated[str, Query(max_length=128)] = "",
    wanted: Annotated[str, Query(alias="record", max_length=128)] = "",
) -> Response:
    """Draw a text to rate, or show the one that is asked for."""
    account = visit.signed_in()
    waiting = visit.service.private.basket.ratings(account.account)
    codes = {parse_tag(language, where=i18n.gettext("language"))[0]} if language.strip() else set()
    with visit.register() as register:
        member = visit.as_member(register).id
        register.standing(member)
        if wanted:
            found: Stored | None = readable_record(visit, register, wanted)
        else:
            found = draw(visit, register, member, codes, {skip, *(one.record for one in waiting)})
    return visit.page("review.html", record=found, waiting=len(waiting), scale=scale(), flags=flags_in_words(), language=language)


@router.post("/review/{record}")
def rate(
    visit: Here,
    record: Record,
    score: Annotated[int, Form(ge=1, le=5)],
    flags: Annotated[list[str] | None, Form(max_length=10)] = None,
    language: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Keep a rating, to be signed with others, and go on to the next text."""
    account = visit.signed_in()
    with visit.register() as register:
        member = visit.as_member(register).id
        register.standing(member)
        found = readable_record(visit, register, record)
    if member in found.authors:
        raise Refused(i18n.gettext("you are an author of this text"))
    chosen = tuple(sorted(set(flags or [])))
    if not set(chosen) <= set(FLAGS):
        raise BadInput(i18n.gettext("this is no flag"), value=chosen, allowed=", ".join(FLAGS))
    visit.service.private.basket.rate(account.account, RatingDraft(record, score, chosen))
    return visit.go(f"/review?language={quote(language)}")


@router.post("/review")
def sign(visit: Here) -> Response:
    """Store the ratings that wait as one review, and draft the statement that seals it."""
    account = visit.signed_in()
    waiting = visit.service.private.basket.ratings(account.account)
    with visit.register() as register:
        member = visit.as_member(register).id
        register.standing(member)
    store = visit.service.house.contributions()
    there = store.existing(one.record for one in waiting) - store.erased()
    visit.service.private.basket.unrate(account.account, *(one.record for one in waiting if one.record not in there))
    made = store.reviews.add(member, [one for one in waiting if one.record in there], at=visit.service.clock())
    with visit.register() as register:
        drafted = draft(visit.service, register, "coop.review/v1", made.payload(), member, rated=sorted(there), go="/review")
    return visit.go_sign(signing_path(drafted, member))

"""The bylaws: who may do what, how it is decided, and how members change that; each version there was, in words and to the letter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Response
from starlette.exceptions import HTTPException

from governance_hooks.bylaws import KINDS, Bylaws
from governance_hooks.canonical import dumps
from governance_hooks.motions import AmendBylaws
from governance_hooks.register import Register
from governance_hooks.state.proposals import Proposal
from portal.bylaws_words import changes_in_words, decided_in_words, effect_in_words
from portal.i18n import gettext as _
from portal.offices import offices_in_words, others_in_words
from portal.proposal_rows import Row, kind_in_words, row_of
from portal.public import public
from portal.service import Service
from portal.versions import Version, issued_at, upcoming, versions_of
from portal.visit import Here, Visit

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

Number = Annotated[int, Path(ge=1, le=2**53 - 1)]
SHOWN: Final = 10
"""Versions on a page, each with what it changed."""


@dataclass(frozen=True, slots=True)
class Past:
    """A version, for the list of them."""

    number: int
    position: int
    since: str
    until: str | None
    """When the next one took its place, RFC 3339 UTC."""
    vote: Proposal | None
    changes: list[str]


@dataclass(frozen=True, slots=True)
class Coming:
    """An amendment that is voted on, or waits for its effect."""

    row: Row
    changes: list[str]


@dataclass(frozen=True, slots=True)
class Way:
    """How some kinds of vote are decided, all of them alike."""

    kinds: list[tuple[str, str, str]]
    """Kind, its name, and what becomes of an approval."""
    lines: list[str]
    """What decides: who has to vote, and by which majority."""
    more: list[str]


@router.get("/bylaws")
def bylaws(visit: Here) -> Response:
    """Show the bylaws in force."""
    return _page(visit, None)


@router.get("/bylaws/{number}")
def version(visit: Here, number: Number) -> Response:
    """Show a version of the bylaws that is or was in force."""
    return _page(visit, number)


@router.get("/bylaws/{number}/bylaws.json")
def letters(visit: Here, number: Number) -> Response:
    """Hand out a version, in its one canonical form: what a vote's fingerprint is made of."""
    with visit.register() as register:
        found = _version(versions_of(visit.service, register), number).bylaws
    headers = {"content-disposition": f'attachment; filename="bylaws-{found.version}.json"'}
    return public(visit, Response(dumps(found.model_dump(mode="json")), media_type="application/json", headers=headers))


def _version(versions: list[Version], number: int | None) -> Version:
    if number is not None and number > len(versions):
        raise HTTPException(404)
    return versions[-1 if number is None else number - 1]


def _page(visit: Visit, number: int | None) -> Response:
    service = visit.service
    with visit.register() as register:
        versions = versions_of(service, register)
        found = _version(versions, number)
        current = found is versions[-1]
        values: dict[str, Any] = {
            "past": _past(service, versions[: found.bylaws.version], versions[found.bylaws.version :]),
            "offices": offices_in_words(found.bylaws, register if current else None),
            "ways": _ways(found.bylaws, register if current else None),
            "others": others_in_words(found.bylaws),
            "coming": [Coming(row_of(service, one, visit.member), _changes(register, one)) for one in upcoming(service, register)] if current else [],
            "founders": len(register.founders),
        }
    document = found.bylaws.model_dump(mode="json")
    return public(visit, visit.page("bylaws.html", found=found, current=current, newest=len(versions), shown=SHOWN, document=document, **values))


def _past(service: Service, versions: list[Version], later: list[Version]) -> list[Past]:
    """Return the newest of some versions, newest first, each with what it changed in the one before."""
    first = max(0, len(versions) - SHOWN)
    shown = versions[first:]
    moments = [issued_at(service, one.position) for one in (*shown, *later[:1])]
    before = [versions[first - 1] if first else None, *shown]
    return [
        Past(one.bylaws.version, one.position, since, until, one.vote, changes_in_words(old.bylaws, one.bylaws) if old else [])
        for old, one, since, until in reversed(list(zip(before, shown, moments, [*moments[1:], None], strict=False)))
    ]


def _ways(bylaws: Bylaws, register: Register | None) -> list[Way]:
    """Return how each kind of vote is decided, kinds with the same rules together."""
    led = bylaws.founder_led if register is None or register.exited is None else []
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[str, str, str]]] = {}
    for kind in KINDS:
        main, more = decided_in_words(kind, bylaws.rules(kind))
        only = [_("Only founders vote on this, until they hand over to all members.")] if kind in led else []
        alike.setdefault((tuple(only + main), tuple(more)), []).append((kind, kind_in_words(kind), effect_in_words(kind)))
    return [Way(kinds, list(main), list(more)) for (main, more), kinds in alike.items()]


def _changes(register: Register, proposal: Proposal) -> list[str]:
    return changes_in_words(register.bylaws, proposal.motion.bylaws) if isinstance(proposal.motion, AmendBylaws) else []

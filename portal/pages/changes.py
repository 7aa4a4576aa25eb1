"""What changed from draft to draft of a proposal, and to what is voted on: what is proposed, and the reasons for it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

from portal.diffs import Piece, line_changes, readable
from portal.pages.proposals import Digest, find
from portal.proposal_rows import row_of
from portal.service import Service
from portal.visit import Here

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

VERSIONS = 20
"""The last ones are compared, at most."""
LONGEST = 200_000
"""So much of a text is compared, letters."""


@dataclass(frozen=True, slots=True)
class Version:
    """A draft, or what is voted on."""

    identifier: str
    text: str | None
    """None for one that is not here."""
    reasons: str | None
    """None for reasons that are not here, or were erased; empty where none were given."""


@dataclass(frozen=True, slots=True)
class Step:
    """From one version to the next; a comparison is None where one of the texts is not here."""

    identifier: str
    voted: bool
    """Whether the next one is what is voted on."""
    text: tuple[list[Piece], bool] | None
    reasons: tuple[list[Piece], bool] | None


@router.get("/proposals/{identifier}/changes")
def changes(visit: Here, identifier: Digest) -> Response:
    """Show what changed from draft to draft, and to what is voted on."""
    service = visit.service
    if not service.limits.allows("dry", visit.account.account if visit.account else "everybody"):
        raise HTTPException(429)
    with visit.register() as register:
        found = find(register, identifier)
        row = row_of(service, found, visit.member)
        chain = list[Version]()
        at: str | None = found.draft
        while at is not None and len(chain) < VERSIONS:
            draft = register.drafts[at]
            chain.insert(0, _version(service, at, draft.subject, draft.reasons))
            at = draft.previous
        versions = len(chain)
        if chain and found.reasons != register.drafts[chain[-1].identifier].reasons:  # what is proposed is the last draft's; the reasons may be others
            chain.append(_version(service, found.id, found.subject, found.reasons))
    steps = [
        Step(new.identifier, new.identifier == found.id, _compared(old.text, new.text), _compared(old.reasons, new.reasons))
        for old, new in itertools.pairwise(chain)
    ]
    return visit.page("changes.html", row=row, steps=steps, versions=versions)


def _version(service: Service, identifier: str, subject: str, why: str | None) -> Version:
    return Version(identifier, service.house.text(subject), service.house.reason(why) if why else "")


def _compared(old: str | None, new: str | None) -> tuple[list[Piece], bool] | None:
    return None if old is None or new is None else line_changes(readable(old[:LONGEST]), readable(new[:LONGEST]))

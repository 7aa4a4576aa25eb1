"""The first page: for a member what needs them, for others what this cooperative is and what it decides."""

from __future__ import annotations

from fastapi import APIRouter, Response

from portal.needs import needs_of
from portal.proposal_rows import rows_of
from portal.visit import Here

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.get("/")
def home(visit: Here) -> Response:
    """Show what needs you, or what there is to see."""
    service = visit.service
    with visit.register() as register:
        needs = needs_of(service, register, visit.account) if visit.account else []
        rows = rows_of(service, [one for one in register.proposals.values() if one.closed is None], visit.member)
        numbers = {
            "members": len(register.active()),
            "texts": sum(given.records for given in register.contributions.values()),
            "releases": len(register.releases),
            "entries": register.size,
        }
        name = register.name
    return visit.page("home.html", needs=needs, rows=rows, numbers=numbers, name=name)

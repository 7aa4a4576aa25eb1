"""The first page: for a member what needs them, for others what this cooperative is and what it decides."""

from __future__ import annotations

from fastapi import APIRouter, Response

from portal.needs import needs_of
from portal.proposal_rows import by_end, rows_of
from portal.visit import Here

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

SHOWN = 50
"""Open votes on the first page; the others are on their own."""


@router.get("/")
def home(visit: Here) -> Response:
    """Show what needs you, or what there is to see."""
    service = visit.service
    with visit.register() as register:  # and nothing here takes longer for a longer log
        needs = needs_of(service, register, visit.account) if visit.account else []
        asked = {need.path for need in needs}
        running = service.view.running()
        others = [one for one in running if f"/proposals/{one.id}" not in asked]  # a vote that needs them stands above, with its button and its end
        rows = rows_of(service, by_end(others)[:SHOWN], visit.member)
        numbers = {
            "members": service.view.members(),
            "declined": service.view.declined["admission"],
            "texts": service.view.texts,
            "releases": len(register.releases),
            "entries": register.size,
        }
        name = register.name
    return visit.page("home.html", needs=needs, rows=rows, some_above=len(others) < len(running), numbers=numbers, name=name)

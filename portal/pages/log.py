"""The log, for everybody to look through: every entry with its receipt, the newest checkpoint, and how to check it all at home."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from starlette.exceptions import HTTPException

from governance_hooks.canonical import dumps, loads, sha256
from portal.visit import Here

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

PAGE = 50


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the log."""

    position: int
    id: str
    kind: str
    author: str
    issued: str


@router.get("/log")
def entries(visit: Here, until: Annotated[int | None, Query(ge=0, le=2**53)] = None) -> Response:
    """List entries, the newest first; with `until`, those before a position."""
    log = visit.service.view.log
    size = log.size
    stop = size if until is None else min(until, size)
    start = max(0, stop - PAGE)
    rows = []
    for position, data in enumerate(log.entries(start, stop), start=start):
        body = loads(data, source=f"entry {position}")["body"]
        rows.append(Entry(position, sha256(dumps(body)), body["type"].removeprefix("coop.").removesuffix("/v1"), body["author"], body["issued"]))
    with visit.register() as register:
        coop = register.coop
    return visit.page("log.html", rows=rows[::-1], size=size, start=start, stop=stop, page=PAGE, checkpoint=log.checkpoint(), coop=coop)


@router.get("/log/entries/{position}")
def entry(visit: Here, position: Annotated[int, Path(ge=0, le=2**53)]) -> Response:
    """Go to the receipt of the entry at a position."""
    if position >= visit.service.view.log.size:
        raise HTTPException(404)
    with visit.register():
        identifier = visit.service.view.entry(position).id
    return visit.go(f"/receipts/{identifier}")


@router.get("/log/checkpoint")
def checkpoint(visit: Here) -> Response:
    """Hand out the newest signed checkpoint (C2SP tlog-checkpoint)."""
    return Response(visit.service.view.log.checkpoint(), media_type="text/plain")

"""The log explorer: every entry, newest first, each in words and to the letter, with its signatures and what proves that it is in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.checkpoint import read_body
from governance_hooks.errors import BadInput
from governance_hooks.sshsig import NAMESPACE, check
from portal import i18n
from portal.log_words import facts_of, kind_of, sentence_of, who_of
from portal.public import public
from portal.service import Service
from portal.visit import Here

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

PAGE = 50
_LAST = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Line:
    """An entry in the list."""

    position: int
    sentence: str
    issued: str


@lru_cache(maxsize=512)  # the newest entries are looked at by everybody, and none ever changes
def _body(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = loads(data)["body"]
    return found


def _bodies(service: Service, start: int, stop: int) -> list[tuple[int, dict[str, Any]]]:
    return [(start + number, _body(data)) for number, data in enumerate(service.view.log.entries(start, stop))]


@router.get("/log")
def entries(visit: Here, before: Annotated[int | None, Query(ge=1, le=_LAST)] = None) -> Response:
    """List entries, newest first, from the newest on or from before a position."""
    service = visit.service
    with visit.register() as register:
        size = register.size
        stop = min(before or size, size)
        start = max(0, stop - PAGE)
        lines = [Line(position, sentence_of(service, register, value), value["issued"]) for position, value in reversed(_bodies(service, start, stop))]
    note = service.view.log.checkpoint()
    return public(visit, visit.page("log.html", lines=lines, size=size, start=start, stop=stop, step=PAGE, note=note, pin=service.view.pin))


@router.get("/log/find")
def find(visit: Here, what: Annotated[str, Query(max_length=80)]) -> Response:
    """Go to the entry of a number, or of a statement's digest."""
    asked = what.strip().lower()
    with visit.register() as register:
        size, found = register.size, None
        if asked.isascii() and asked.isdigit() and len(asked) < 16 and int(asked) < size:
            found = int(asked)
        else:
            found = visit.service.view.positions.get(asked if asked.startswith("sha256:") else f"sha256:{asked}")
    if found is None:
        raise BadInput(i18n.gettext("there is no such entry"), value=asked, allowed=i18n.gettext("a number, or the 64 letters of a statement's fingerprint"))
    return visit.go(f"/log/entries/{found}")


@router.get("/log/checkpoint")
def checkpoint(visit: Here) -> Response:
    """Hand out the newest signed checkpoint."""
    return public(visit, PlainTextResponse(visit.service.view.log.checkpoint()), kept="public, max-age=5")


@router.get("/log/entries/{position}")
def entry(visit: Here, position: Annotated[int, Path(ge=0, le=_LAST)]) -> Response:
    """Show an entry."""
    service = visit.service
    with visit.register() as register:
        size = register.size
        if position >= size:
            raise HTTPException(404)
        value = loads(next(service.view.log.entries(position, position + 1)))
        body, signatures = dumps(value["body"]), value["signatures"]
        keys = [check(one, body).key for one in signatures]
        owners = [register.known_keys.get(key.raw, value["body"]["author"]) for key in keys]
        sentence = sentence_of(service, register, value["body"])
    facts, whole = facts_of(value["body"]["payload"])
    page = visit.page(
        "log_entry.html",
        notice=service.house.notice_of(value["body"]["payload"]["notice"]) if value["body"]["type"] == "coop.consent/v1" else None,
        position=position,
        size=size,
        value=value["body"],
        statement=sha256(body),
        kind=kind_of(value["body"]["type"]),
        sentence=sentence,
        facts=facts,
        whole=whole,
        canonical=body.decode(),
        signed=list(zip(owners, keys, signatures, strict=True)),
        namespace=NAMESPACE,
        who_of=who_of,
        checkpoint_size=read_body(service.view.log.checkpoint()).size,
    )
    return public(visit, page)

"""The bylaws for programs: every version that was ever in force, to the letter, with what put it in force."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import Field

from portal.api.asking import LAST, Count, Program, Shape, Start, answered, kept, nothing_here, page_of
from portal.api.log import Digest, Position
from portal.service import Service
from portal.versions import Version, issued_at, versions_of

__all__ = ["router"]

router = APIRouter(prefix="/bylaws", tags=["proposals"])

Number = Annotated[int, Path(ge=1, le=LAST, description="Number of a version, from 1.")]


class Bylaws(Shape):
    """A version of the rules."""

    version: Annotated[int, Field(ge=1)]
    since: Annotated[Position, Field(description="Entry with which they came into force; 0 for the first.")]
    issued: Annotated[str, Field(description="What that entry states as the time, RFC 3339 UTC.")]
    in_force: Annotated[bool, Field(description="Whether they are the rules now.")]
    proposal: Annotated[
        Digest | None,
        Field(description="The vote that passed them. Its `subject` is the SHA-256 of `bylaws` and `kind` in canonical JSON (RFC 8785). Null for the first."),
    ]
    bylaws: Annotated[dict[str, Any], Field(description="The rules, every field. Kinds of vote that `kinds` leaves out have defaults, which never change.")]


class Versions(Shape):
    """A part of the versions."""

    total: Annotated[int, Field(ge=1)]
    versions: list[Bylaws]
    next: Annotated[int | None, Field(description="`start` of the next page; null after the last.")]


def _shape(service: Service, found: Version, newest: int) -> Bylaws:
    return Bylaws(
        version=found.bylaws.version,
        since=found.position,
        issued=issued_at(service, found.position),
        in_force=found.bylaws.version == newest,
        proposal=found.vote.id if found.vote else None,
        bylaws=found.bylaws.model_dump(mode="json"),
    )


@router.get("", response_model=Versions, responses=answered())
def bylaws(visit: Program, start: Start = 0, limit: Count = 50) -> Response:
    """Return every version of the bylaws that is or was in force, oldest first. The last one is in force; the list only grows."""
    with visit.register() as register:
        every = versions_of(visit.service, register)
        first, stop, after = page_of(start, limit, len(every))
        found = [_shape(visit.service, one, len(every)) for one in every[first:stop]]
    return kept(visit, Versions(total=len(every), versions=found, next=after))


@router.get("/{version}", response_model=Bylaws, responses=answered(404))
def bylaws_of_version(visit: Program, version: Number) -> Response:
    """Return one version of the bylaws, with the entry and the vote that put it in force."""
    with visit.register() as register:
        every = versions_of(visit.service, register)
        if version > len(every):
            raise nothing_here("there is no such version of the bylaws")
        found = _shape(visit.service, every[version - 1], len(every))
    return kept(visit, found)

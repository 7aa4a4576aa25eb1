"""Released models for programs: where each stands, its files, and where they are fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import Field
from starlette.exceptions import HTTPException

from governance_hooks.errors import CoopError
from governance_hooks.register import Register
from governance_hooks.standing import status_of
from model_card.schemas import ReleaseDocument
from portal.api.asking import ByDigest, Count, Program, Shape, Start, answered, kept, nothing_here, page_of
from portal.api.log import Digest
from portal.downloads import WEIGHTS, Part, document_of, parts_of
from portal.service import Service

__all__ = ["router"]

router = APIRouter(prefix="/releases", tags=["releases"])


class Status(Shape):
    """Where a release stands, read from the log alone."""

    status: Annotated[Literal["current", "superseded", "withdrawn"], Field(description="A withdrawn release is not to be used.")]
    by: Annotated[Digest | None, Field(description="The release to use instead.")]
    reason: Annotated[str | None, Field(description="One word of a fixed list.")]
    since: Annotated[str | None, Field(description="RFC 3339 UTC.")]
    until: Annotated[str | None, Field(description="When a withdrawal by stewards lapses unless members confirm it.")]


class File(Shape):
    """A file of a release."""

    path: str
    size: Annotated[int, Field(ge=0, description="Bytes.")]
    sha256: Annotated[Digest | None, Field(description="Null for what comes after the vote and proves itself: the proof and attestations.")]
    role: str
    url: Annotated[str | None, Field(description="Where it is fetched; null for weights that are not handed out.")]


class Release(Shape):
    """A released model."""

    release: Annotated[Digest, Field(description="SHA-256 of release.json: what members voted on.")]
    name: Annotated[str | None, Field(description="Null if its files are not on this server, or are not the ones members voted on.")]
    run: str | None
    licence: str | None
    created: Annotated[str | None, Field(description="RFC 3339 UTC.")]
    proposal: Annotated[Digest, Field(description="The vote that released it.")]
    status: Status


class Files(Release):
    """A released model with its files."""

    files: list[File]


class Releases(Shape):
    """A part of the released models."""

    total: Annotated[int, Field(ge=0)]
    releases: list[Release]
    next: Annotated[int | None, Field(description="`start` of the next page; null after the last.")]


def _document(folder: Path | None, digest: str) -> ReleaseDocument | None:
    """Return the list of files members voted on; None if it is not here, or is another."""
    if folder is None:
        return None
    try:
        return document_of(folder, digest)
    except (CoopError, HTTPException, OSError):
        return None


def _fields(register: Register, digest: str, document: ReleaseDocument | None) -> dict[str, object]:
    found = status_of(register, digest)
    return {
        "release": digest,
        "name": document.name if document else None,
        "run": document.run if document else None,
        "licence": document.licence if document else None,
        "created": document.created if document else None,
        "proposal": register.releases[digest],
        "status": Status(status=found.status, by=found.by, reason=found.reason, since=found.since, until=found.until),
    }


@router.get("", response_model=Releases, responses=answered())
def releases(visit: Program, start: Start = 0, limit: Count = 50) -> Response:
    """Return what members released, oldest first."""
    with visit.register() as register:
        folders, digests = visit.service.house.releases(), list(register.releases)
        first, stop, after = page_of(start, limit, len(digests))
        found = [Release.model_validate(_fields(register, one, _document(folders.get(one), one))) for one in digests[first:stop]]
    return kept(visit, Releases(total=len(digests), releases=found, next=after))


@router.get("/{release}", response_model=Files, responses=answered(404))
def release(visit: Program, release: ByDigest) -> Response:
    """Return one release with its files: ask for its status before you use what you fetched earlier."""
    with visit.register() as register:
        if release not in register.releases:
            raise nothing_here("members released nothing of this digest")
        folder = visit.service.house.releases().get(release)
        document = _document(folder, release)
        fields = _fields(register, release, document)
        withdrawn = status_of(register, release).status == "withdrawn"
    parts = parts_of(folder, release) if folder is not None and document is not None else []
    return kept(visit, Files.model_validate(fields | {"files": [_file(visit.service, release, one, withdrawn) for one in parts]}))


def _file(service: Service, release: str, part: Part, withdrawn: bool) -> File:
    url = None if withdrawn and part.role in WEIGHTS else f"{service.settings.origin}/releases/{release}/files/{part.path}"
    return File(path=part.path, size=part.size, sha256=part.sha256, role=part.role, url=url)

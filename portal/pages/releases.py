"""Releases: which models members released, what each is, how it was decided, and its files with what checks them. For everybody."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path as Folder
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException

from governance_hooks.errors import CoopError, Refused
from governance_hooks.register import Register
from governance_hooks.standing import ReleaseStatus, status_of
from governance_hooks.state.proposals import Proposal
from model_card.promise import PROMISE
from portal import i18n, markdown, pictures
from portal.downloads import WEIGHTS, Part, bytes_of, document_of, parts_of, send
from portal.motion_words import reason_in_words
from portal.proposal_rows import row_of
from portal.public import public
from portal.rendering import short
from portal.service import Service
from portal.visit import Here, Visit

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

Digest = Annotated[str, Path(pattern=r"^sha256:[0-9a-f]{64}$")]
ISO_639_3: Final = {"en": "eng", "es": "spa", "fr": "fra", "ar": "ara", "sw": "swa", "hi": "hin"}
_CHART: Final = re.compile(r"card/charts/([a-z0-9_-]{1,64})\.svg")


@dataclass(frozen=True, slots=True)
class Shown:
    """A release in the list."""

    digest: str
    name: str
    status: ReleaseStatus
    proposal: Proposal


@router.get("/releases")
def releases(visit: Here) -> Response:
    """List what members released, newest first."""
    service = visit.service
    with visit.register() as register:
        folders = service.house.releases()
        found = [
            Shown(one, _name(folders.get(one), one), status_of(register, one), register.proposals[proposal])
            for one, proposal in reversed(list(register.releases.items())[-500:])
        ]
    return public(visit, visit.page("releases.html", found=found))


@router.get("/releases/{digest}")
def release(visit: Here, digest: Digest) -> Response:
    """Show a release: its card, its pictures, how members decided, its files, and how to check them."""
    service = visit.service
    with visit.register() as register:
        proposal = _proposal(visit, register, digest)
        folder = service.house.releases().get(digest)
        status = status_of(register, digest)
        out = digest in register.releases
        names = {one: _name(service.house.releases().get(one), one) for one in (status.by,) if one}
        values: dict[str, Any] = {
            "row": row_of(service, proposal, None),
            "proposal": proposal,
            "dissent": _dissent(service, proposal),
            "silent": sum(vote.choice == "against" and vote.reason is None for vote in proposal.votes.values()),
        }
    parts, trouble = _parts(folder, digest)
    values |= _card(folder, parts) if folder is not None else {"summary": None, "charts": []}
    page = visit.page(
        "release.html",
        digest=digest,
        name=_name(folder, digest),
        document=document_of(folder, digest) if folder is not None and parts else None,
        standing=status,
        out=out,
        names=names,
        reason=reason_in_words(status.reason) if status.reason else None,
        trouble=trouble,
        groups=[(title, [one for one in parts if (one.role in roles)]) for title, roles in _groups()],
        weights=WEIGHTS,
        promise=PROMISE,
        pin=service.view.pin,
        total=sum(one.size for one in parts),
        **values,
    )
    return public(visit, page)


@router.get("/releases/{digest}/charts/{name}.svg")
def chart(
    visit: Here,
    digest: Digest,
    name: Annotated[str, Path(pattern=r"^[a-z0-9_-]{1,64}$")],
    language: Annotated[str, Query(alias="in", max_length=8)] = "en",
    sheet: Annotated[str, Query(max_length=8)] = "",
) -> Response:
    """Show a picture of the card: the released file, or the same numbers in another language or on a page's sheet; as a file of its own it may run nothing."""
    folder, part = _found(visit, digest, f"card/charts/{name}.svg")
    answer = send(visit, folder, part, kind="image/svg+xml", shown=True)
    i18n.use(i18n.choose(language))
    drawn = None if i18n.current() == "en" and sheet not in pictures.SHEETS else pictures.drawn(folder, parts_of(folder, digest), name, sheet)
    if drawn is None:
        return answer
    kept = ("cache-control", "content-security-policy", "content-disposition")
    return Response(drawn, headers={one: answer.headers[one] for one in kept} | {"content-language": i18n.current()}, media_type="image/svg+xml")


@router.api_route("/releases/{digest}/files/{path:path}", methods=["GET", "HEAD"])
def file(visit: Here, digest: Digest, path: Annotated[str, Path(max_length=300)]) -> Response:
    """Hand out a file."""
    return send(visit, *_found(visit, digest, path))


@router.get("/releases/{digest}/SHA256SUMS")
def sums(visit: Here, digest: Digest) -> Response:
    """Hand out the digests of all files, as sha256sum takes them."""
    parts = _listed(visit, digest)
    lines = [f"{one.sha256.removeprefix('sha256:')}  {one.path}\n" for one in parts if one.sha256 is not None]
    return public(visit, PlainTextResponse("".join(lines)))


@router.get("/releases/{digest}/curl.txt")
def fetching(visit: Here, digest: Digest) -> Response:
    """Hand out where each file is and where it goes, as curl takes it."""
    origin, name = visit.service.settings.origin, _name(visit.service.house.releases().get(digest), digest)
    lines = [f'url = "{origin}/releases/{digest}/files/{one.path}"\noutput = "{name}/{one.path}"\n' for one in _listed(visit, digest)]
    return public(visit, PlainTextResponse("".join(lines)))


def _name(folder: Folder | None, digest: str) -> str:
    try:
        return document_of(folder, digest).name if folder is not None else short(digest)
    except (CoopError, HTTPException):
        return short(digest)


def _proposal(visit: Visit, register: Register, digest: str) -> Proposal:
    """Return the vote about a release; what is not out yet is for members only, who have to read it before they vote."""
    if digest in register.releases:
        return register.proposals[register.releases[digest]]
    asked = [one for one in register.proposals.values() if one.kind == "release" and one.subject == digest]
    if not asked or visit.member not in register.active():
        raise HTTPException(404)
    return asked[-1]


def _parts(folder: Folder | None, digest: str) -> tuple[list[Part], str | None]:
    """Return the files of a release, or in plain words why they cannot be shown."""
    if folder is None:
        return [], i18n.gettext(
            "The files of this release are not on this server. Ask the operator for them, or whoever gave you this link: the fingerprint shows whether you got the right ones."
        )
    try:
        return parts_of(folder, digest), None
    except (CoopError, HTTPException, OSError):
        return [], i18n.gettext("The list of files on this server is not the one members voted on. Do not use what you got from here, and tell the operator.")


def _listed(visit: Visit, digest: str) -> list[Part]:
    with visit.register() as register:
        _proposal(visit, register, digest)
        folder = visit.service.house.releases().get(digest)
        allowed = _weights_allowed(visit.service, register, digest)
    if folder is None:
        raise HTTPException(404)
    return [one for one in parts_of(folder, digest) if allowed or one.role not in WEIGHTS]


def _weights_allowed(service: Service, register: Register, digest: str) -> bool:
    return digest in register.releases and status_of(register, digest).status != "withdrawn"


def _found(visit: Visit, digest: str, path: str) -> tuple[Folder, Part]:
    """Return a file that may go out; raise Refused for weights that members did not release, or that were withdrawn."""
    with visit.register() as register:
        _proposal(visit, register, digest)
        folder = visit.service.house.releases().get(digest)
        allowed = _weights_allowed(visit.service, register, digest)
    part = next((one for one in parts_of(folder, digest) if one.path == path), None) if folder is not None else None
    if folder is None or part is None:
        raise HTTPException(404)
    if part.role in WEIGHTS and not allowed:
        raise Refused(i18n.gettext("these weights are not handed out: members have not released them, or they were withdrawn"), value=path)
    return folder, part


def _card(folder: Folder, parts: list[Part]) -> dict[str, Any]:
    """Return the summary in the reader's language if members translated it, else in English, and the pictures."""
    paths = {one.path for one in parts if one.size <= pictures.RECORD}
    language = ISO_639_3.get(i18n.current(), "eng")
    path = next((one for one in (f"card/summary.{language}.md", "card/summary.eng.md") if one in paths), None)
    summary = markdown.shown(bytes_of(folder, path, pictures.RECORD).decode("utf-8", "replace")) if path else None
    charts = [pictures.picture_of(folder, parts, match[1]) for one in sorted(paths) if (match := _CHART.fullmatch(one))]
    return {"summary": summary, "summary_language": i18n.current() if path and language in path else "en", "charts": charts}


def _dissent(service: Service, proposal: Proposal) -> list[tuple[str, str | None]]:
    """Return who voted against with a reason, and the reason if it is here."""
    against = [(member, vote.reason) for member, vote in proposal.votes.items() if vote.choice == "against" and vote.reason is not None]
    return [(member, service.house.reason(reason)) for member, reason in against[:100]]


def _groups() -> list[tuple[str, frozenset[str]]]:
    _ = i18n.gettext
    return [
        (_("To read"), frozenset({"card", "statement"})),
        (_("To use: the weights"), frozenset({"adapter", "model", "gguf"})),
        (_("To check: the records"), frozenset({"release", "plan", "run", "data", "evaluation", "privacy", "stake", "derivation", "previous"})),
        (_("After the vote: the proof"), frozenset({"proof", "attestation"})),
    ]

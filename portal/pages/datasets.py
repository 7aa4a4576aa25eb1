"""What models were trained on, for everybody: each dataset members voted for, and each language over time."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Response
from starlette.exceptions import HTTPException

from data_pipeline.croissant import croissant
from data_pipeline.manifest import MANIFEST, read_build
from governance_hooks.errors import CoopError
from governance_hooks.register import Register
from governance_hooks.standing import status_of
from governance_hooks.vocabulary import WORDS
from portal import i18n
from portal.datasets import FEW, Dataset, given_in, in_this_language, past_of, voted
from portal.proposal_rows import row_of
from portal.public import public
from portal.samples import authorship, candidates, samples_of
from portal.service import Service
from portal.visit import Here

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

Digest = Annotated[str, Path(pattern=r"^sha256:[0-9a-f]{64}$")]
ASKED_AGAIN: Final = "public, no-cache"
"""A page with members' texts is kept by nobody without asking: a text that was withdrawn is gone from it at once."""


@router.get("/datasets")
def datasets(visit: Here) -> Response:
    """List the datasets members approved a run on, newest first, and the languages in them."""
    with visit.register() as register:
        found = list(reversed(voted(visit.service, register).values()))[:200]
    codes = sorted({part.language for one in found for part in one.parts}, key=in_this_language)
    return public(visit, visit.page("datasets.html", found=found, tongues=[(code, in_this_language(code)) for code in codes]))


def _found(service: Service, register: Register, digest: str) -> Dataset:
    found = voted(service, register).get(digest)
    if found is None:
        raise HTTPException(404)
    return found


@router.get("/datasets/{digest}")
def dataset(visit: Here, digest: Digest) -> Response:
    """Show a dataset: how members decided on it, what is in it, what it was used for, and how to check it."""
    service = visit.service
    with visit.register() as register:
        found = _found(service, register, digest)
        votes = [row_of(service, one, None) for one in found.votes]
        folders = service.house.releases()
        releases = [(one, folders[one].name if one in folders else one[7:19], status_of(register, one)) for one in found.releases]
    values: dict[str, Any] = {"parts": [(part, in_this_language(part.language)) for part in found.parts], "few": FEW}
    if found.manifest is not None:
        use = found.manifest.use
        values |= {
            "purpose": i18n.gettext(WORDS[use.purpose]),
            "processing": [i18n.gettext(WORDS[one]) for one in use.processing],
            "recipients": [i18n.gettext(WORDS[one]) for one in use.recipients],
            "written": authorship(found),
            "licences": sorted(found.manifest.licences.items(), key=lambda one: -one[1]),
        }
    return public(visit, visit.page("dataset.html", dataset=found, votes=votes, releases=releases, **values))


@router.get("/datasets/{digest}/manifest.json")
def manifest(visit: Here, digest: Digest) -> Response:
    """Hand out the manifest, byte for byte: its SHA-256 is what members' plans name."""
    with visit.register() as register:
        found = _found(visit.service, register, digest)
    if found.folder is None:
        raise HTTPException(404)
    data = (found.folder / MANIFEST).read_bytes()
    headers = {"content-disposition": 'attachment; filename="manifest.json"'}
    return public(visit, Response(data, media_type="application/json", headers=headers))


@router.get("/datasets/{digest}/croissant.json")
def described(visit: Here, digest: Digest) -> Response:
    """Hand out the description for machines (MLCommons Croissant 1.1)."""
    with visit.register() as register:
        found = _found(visit.service, register, digest)
    try:
        text = json.dumps(croissant(read_build(found.folder), found.name), ensure_ascii=False, indent=1) if found.folder else None
    except CoopError:
        text = None  # the texts are kept on another machine, whose columns it describes
    if text is None:
        raise HTTPException(404)
    headers = {"content-disposition": 'attachment; filename="croissant.json"'}
    return public(visit, Response(text + "\n", media_type="application/ld+json", headers=headers))


@router.get("/languages/{code}")
def language(visit: Here, code: Annotated[str, Path(pattern=r"^[a-z]{3}$")]) -> Response:
    """Show one language: what datasets had of it over time, some texts that may be shown, and how to give more."""
    service = visit.service
    with visit.register() as register:
        past = past_of(voted(service, register), code)
        if not past:
            raise HTTPException(404)
        given, givers = given_in(register, code)
    rows = candidates(past[-1].dataset, code)
    with visit.register() as register:
        samples = samples_of(service, register, rows)
    page = visit.page(
        "language.html",
        code=code,
        name=in_this_language(code),
        past=past,
        counts=[(i18n.day(one.at), one.part.train + one.part.heldout) for one in past],
        given=given,
        givers=givers,
        few=FEW,
        samples=samples,
    )
    return public(visit, page, kept=ASKED_AGAIN)

"""Without a network: one page that holds nothing of anybody, and the worker that keeps it, with the files it needs, in a member's browser."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Final

from fastapi import APIRouter, Path, Response
from starlette.exceptions import HTTPException

from data_pipeline.record import Draft
from portal import i18n
from portal.pages.contribute import LICENCES
from portal.rendering import STATIC, static_url
from portal.visit import Here, Visit

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

FILES: Final = ("portal.css", "icon.svg", "outbox.js", "draft.js")
"""What the page loads."""

Language = Annotated[str, Path(pattern=r"^[a-z]{2,3}$")]


def _page(visit: Visit, language: str) -> Response:
    """Return the page as everybody gets it, whoever asks."""
    if language not in i18n.LANGUAGES:
        raise HTTPException(404)
    i18n.use(language)
    stranger = Visit(visit.request, visit.service, None)
    return stranger.page("offline.html", written=Draft("", "", ""), licences=LICENCES, identifier="")


@router.get("/offline/{language}")
def page(visit: Here, language: Language) -> Response:
    """Show what is shown without a network."""
    return _page(visit, language)


@router.get("/offline/{language}/worker.js")
def worker(visit: Here, language: Language) -> Response:
    """Hand out the worker: another one whenever the page or a file of it is another, so that a browser notices."""
    files, script = [static_url(name) for name in FILES], (STATIC / "offline.js").read_bytes()
    parts = [script, bytes(_page(visit, language).body), *(name.encode() for name in files)]
    version = hashlib.sha256(b"".join(hashlib.sha256(one).digest() for one in parts)).hexdigest()[:16]
    kept = json.dumps({"version": version, "page": f"/offline/{language}", "files": files})
    headers = {"service-worker-allowed": "/", "cache-control": "no-cache"}
    return Response(b"const KEPT = " + kept.encode() + b";\n" + script, media_type="text/javascript", headers=headers)

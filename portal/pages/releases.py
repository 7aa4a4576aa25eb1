"""Releases: what members let out, how they voted on it, its files, and the one command that checks them. Nothing else of the folder is served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from governance_hooks.canonical import loads
from governance_hooks.errors import CoopError
from governance_hooks.register import Register
from portal.proposal_rows import Row, row_of
from portal.visit import Here, Visit

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

Digest = Annotated[str, Path(pattern=r"^sha256:[0-9a-f]{64}$")]

BESIDE = ("release.json", "proof.jsonl.gz")
"""Files of a bundle that its list does not name: the list itself, and the proof that came after the vote."""
MAX_LIST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of a release."""

    path: str
    size: int
    sha256: str
    address: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A release that went out."""

    digest: str
    name: str | None
    """Of its folder; None where the bundle is not on this server."""
    row: Row
    halted: str | None
    files: tuple[Listed, ...]


def _shown(visit: Visit, register: Register, digest: str) -> Shown:
    """Return a release; hold the register. Only what the log says went out is one."""
    if digest not in register.releases:
        raise HTTPException(404)
    proposal = register.proposals[register.releases[digest]]
    halt = proposal.halted(visit.service.clock())
    folder = visit.service.house.releases().get(digest)
    files = list[Listed]()
    if folder is not None:
        for entry in _listed(folder / "release.json"):
            path = str(entry["path"])
            files.append(Listed(path, int(entry["size"]), str(entry["sha256"]), f"/releases/{digest}/files/{quote(path)}"))
        for name in BESIDE:
            if (folder / name).is_file():
                files.append(Listed(name, (folder / name).stat().st_size, digest if name == "release.json" else "", f"/releases/{digest}/files/{name}"))
    return Shown(digest, folder.name if folder else None, row_of(visit.service, proposal, visit.member), halt.until if halt else None, tuple(files))


def _listed(path: Any) -> list[dict[str, Any]]:
    """Return the files a release.json names; nothing for one that cannot be read."""
    try:
        value = loads(path.read_bytes(), source=path.name) if path.stat().st_size <= MAX_LIST_BYTES else {}
        return [entry for entry in value["files"] if isinstance(entry["path"], str) and isinstance(entry["size"], int) and isinstance(entry["sha256"], str)]
    except (OSError, CoopError, KeyError, TypeError):
        return []


@router.get("/releases")
def releases(visit: Here) -> Response:
    """List releases, newest first."""
    with visit.register() as register:
        found = [_shown(visit, register, digest) for digest in list(register.releases)[-100:]]
    return visit.page("releases.html", releases=found[::-1])


@router.get("/releases/{digest}")
def release(visit: Here, digest: Digest) -> Response:
    """Show a release, its files, and how to check them."""
    with visit.register() as register:
        found, coop = _shown(visit, register, digest), register.coop
    return visit.page("release.html", release=found, coop=coop)


@router.get("/releases/{digest}/files/{path:path}")
def file(visit: Here, digest: Digest, path: Annotated[str, Path(max_length=400)]) -> Response:
    """Hand out a file of a release, as a download and never as a page of ours."""
    with visit.register() as register:
        found = _shown(visit, register, digest)
        folder = visit.service.house.releases().get(digest)
    if folder is None or path not in {one.path for one in found.files}:
        raise HTTPException(404)
    target = (folder / path).resolve()
    # A list may be hostile too: no name in it leads out of the bundle.
    if not target.is_file() or not target.is_relative_to(folder.resolve()):
        raise HTTPException(404)
    headers = {"content-security-policy": "default-src 'none'; sandbox", "cache-control": "public, max-age=3600"}
    return FileResponse(target, media_type="application/octet-stream", filename=target.name, headers=headers)

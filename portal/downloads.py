"""A release's files on their way out: only what release.json lists, opened without following a link, hashed while it is sent.

The last block is held back until the hash is right, so a file that was changed on this disk never arrives whole.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Final

from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.sentence import Sentence
from model_card.layout import ATTESTATION, LONGEST_ATTESTATION, LONGEST_PROOF, LONGEST_RELEASE, MOST_ATTESTATIONS, PROOF, RELEASE
from model_card.schemas import ReleaseDocument, read
from portal.public import matches
from portal.visit import Visit

__all__ = ["WEIGHTS", "Part", "bytes_of", "document_of", "parts_of", "send"]

WEIGHTS: Final = frozenset({"adapter", "gguf", "model"})
"""Roles of files that are no records: they go out only once members released them, and not after a withdrawal."""
_BLOCK: Final = 1 << 18
_RANGE: Final = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a release."""

    path: str
    size: int
    sha256: str | None
    """None for what comes after the vote, which proves itself."""
    role: str


@lru_cache(maxsize=64)
def _parsed(digest: str, data: bytes) -> ReleaseDocument:
    if sha256(data) != digest:
        raise BadInput("release.json is not the one members voted on", value=sha256(data), allowed=digest)
    return read(ReleaseDocument, data, source=RELEASE)[0]


def document_of(folder: Path, digest: str) -> ReleaseDocument:
    """Return a release's list of files; raise BadInput if it is not that of this digest."""
    return _parsed(digest, bytes_of(folder, RELEASE, LONGEST_RELEASE))


def parts_of(folder: Path, digest: str) -> list[Part]:
    """Return every file of a release that can be downloaded: what members voted on, then what came after the vote."""
    document = document_of(folder, digest)
    listed = [Part(one.path, one.size, one.sha256, one.role) for one in document.files]
    found = [Part(RELEASE, (folder / RELEASE).lstat().st_size, digest, "release"), *listed]
    attested = sorted(f"attestations/{one.name}" for one in os.scandir(folder / "attestations")) if (folder / "attestations").is_dir() else []
    later = [(PROOF, LONGEST_PROOF), *((path, LONGEST_ATTESTATION) for path in attested if ATTESTATION.fullmatch(path))]
    for path, most in later[: MOST_ATTESTATIONS + 1]:
        try:
            size = (folder / path).lstat().st_size
        except OSError:
            continue
        if size <= most:
            found.append(Part(path, size, None, "proof" if path == PROOF else "attestation"))
    return found


def _opened(folder: Path, path: str) -> IO[bytes]:
    """Open a file below a folder; no link is followed, wherever in the path it is."""
    *between, name = path.split("/")
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for one in between:
            there = os.open(one, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = there
        return os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here), "rb", buffering=0)
    finally:
        os.close(here)


def _plain(folder: Path, path: str) -> tuple[IO[bytes], int]:
    try:
        file = _opened(folder, path)
    except OSError as error:
        raise HTTPException(404) from error
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        file.close()
        raise HTTPException(404)
    return file, found.st_size


def bytes_of(folder: Path, path: str, most: int) -> bytes:
    """Return a small file of a release; raise BadInput if it is longer than such a file can be."""
    file, size = _plain(folder, path)
    with file:
        if size > most:
            raise BadInput(Sentence("{path} is longer than such a file can be", path=path), value=size, allowed=f"{most:,} bytes")
        return b"".join(iter(lambda: file.read(_BLOCK), b""))


def _checked(file: IO[bytes], part: Part, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes from `start` up to `stop`; the whole file is hashed, and the last bytes come only if it is the one that was voted on.

    Something is yielded for every block, if only nothing: between two of them a thread is free for pages, however far into the file somebody resumes.
    """
    with file:
        digest, at, held = hashlib.sha256(), 0, b""
        while block := file.read(_BLOCK):
            digest.update(block)
            wanted = block[max(0, start - at) : max(0, stop - at)]
            at += len(block)
            if wanted:
                yield held
                held = wanted
            else:
                yield b""
        if at != part.size or (part.sha256 is not None and "sha256:" + digest.hexdigest() != part.sha256):
            raise ConnectionAbortedError(
                f"{part.path} was changed on this server, and is not sent to its end"
            )  # the connection breaks: nothing else can be said now
        yield held


def send(visit: Visit, folder: Path, part: Part, *, kind: str = "application/octet-stream", shown: bool = False) -> StreamingResponse:
    """Return a file as a download, whole or from a byte on.

    Args:
        visit: who asks.
        folder: the release.
        part: the file.
        kind: media type.
        shown: whether a page shows it (a picture), instead of the browser keeping it.
    """
    file, size = _plain(folder, part.path)
    if size != part.size:
        file.close()
        raise CoopError(
            Sentence("{path} was changed on this server: it has {size:,} bytes instead of {listed:,}", path=part.path, size=size, listed=part.size),
            next="tell the operator",
        )
    tag = f'"{(part.sha256 or f"{part.size}-{os.fstat(file.fileno()).st_mtime_ns}").removeprefix("sha256:")}"'
    headers = {
        "etag": tag,
        "accept-ranges": "bytes",
        "cache-control": "public, max-age=300" if visit.account is None else "private, no-store",
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "content-disposition": "inline" if shown else f'attachment; filename="{part.path.rpartition("/")[2]}"',
    }
    if part.sha256 is not None:
        headers["repr-digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(part.sha256.removeprefix('sha256:'))).decode()}:"
    if matches(visit, tag):
        file.close()
        return StreamingResponse(iter(()), 304, headers)
    start, stop, status = 0, size, 200
    asked = _RANGE.fullmatch(visit.request.headers.get("range", ""))
    if asked is not None and visit.request.headers.get("if-range", tag) == tag:
        start, stop, status = int(asked[1]), min(size, int(asked[2]) + 1 if asked[2] else size), 206
        if start >= stop:
            file.close()
            return StreamingResponse(iter(()), 416, {"content-range": f"bytes */{size}"})
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["content-length"] = str(stop - start)
    if visit.request.method == "HEAD":
        file.close()
        return StreamingResponse(iter(()), status, headers, kind)
    return StreamingResponse(_checked(file, part, start, stop), status, headers, kind)

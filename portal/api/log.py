"""The log for programs: entries, checkpoint, proofs, and the tiles of C2SP tlog-tiles, which its clients read as they are."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from governance_hooks import merkle
from governance_hooks.canonical import loads
from governance_hooks.checkpoint import read_body
from governance_hooks.statement import parse
from governance_hooks.tail import WIDTH
from governance_hooks.tiles import ENTRIES, bundle, tile_path
from portal.api.asking import FOREVER, LAST, Count, Program, Shape, Start, StatementDigest, answered, kept, nothing_here, page_of, raw
from portal.proving import proof_of
from portal.service import Service

__all__ = ["Digest", "Entry", "Receipt", "receipt_of", "router"]

router = APIRouter(prefix="/log", tags=["log"])

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", examples=["sha256:" + "5f" * 32])]
Hash = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$", description="32 bytes in Base64.", examples=["A" * 43 + "="])]
Position = Annotated[int, Field(ge=0, le=LAST, description="Number of the entry in the log, from 0.", examples=[41])]
_TILE: Final = re.compile(r"((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


class Body(Shape):
    """What was signed: its canonical JSON (RFC 8785) is the bytes under every signature."""

    type: Annotated[str, Field(description="What kind of statement it is.", examples=["coop.ballot/v1"])]
    coop: Annotated[str, Field(description="The cooperative: digest of its founding statement; `self` in the founding statement.")]
    author: Annotated[str, Field(description="A member's pseudonym, `operator`, or `s-` and the name of a site.", examples=["m-0000000000000001"])]
    issued: Annotated[str, Field(description="When it was signed, by its author's clock: RFC 3339 in UTC.", examples=["2026-11-29T12:00:00Z"])]
    nonce: Annotated[str, Field(description="Random, so that no two statements are one.", examples=["0" * 32])]
    payload: Annotated[dict[str, Any], Field(description="What it says; its fields follow from `type`. Numbers, digests and names of ours, and no free text.")]


class Entry(Shape):
    """An entry of the log."""

    index: Position
    statement: Annotated[Digest, Field(description="SHA-256 of the canonical bytes of `body`.")]
    body: Body
    signatures: Annotated[list[str], Field(description="OpenSSH signatures over the canonical bytes of `body`, as `ssh-keygen -Y verify` takes them.")]


class Entries(Shape):
    """A part of the log."""

    size: Annotated[int, Field(ge=0, description="Entries in the log now.")]
    entries: list[Entry]
    next: Annotated[int | None, Field(description="`start` of the next page; null after the last entry.")]


class Inclusion(Shape):
    """Why an entry is in the tree under the checkpoint: hash the leaf upwards along `path` (RFC 6962) and compare with `root`."""

    index: Position
    size: Annotated[int, Field(ge=1, description="Entries of the tree the proof is for.")]
    leaf: Annotated[Hash, Field(description="SHA-256 of a zero byte and the entry's bytes.")]
    path: Annotated[list[Hash], Field(description="The hashes beside the way up, lowest first.")]
    root: Hash


class Consistency(Shape):
    """Why an older tree is the beginning of a newer one: nothing was changed or taken away between them (RFC 6962)."""

    old: Annotated[int, Field(ge=1)]
    new: Annotated[int, Field(ge=1)]
    old_root: Hash
    new_root: Hash
    path: list[Hash]


class Receipt(Shape):
    """A statement in the log, with the proof that it is in."""

    entry: Entry
    inclusion: Inclusion
    checkpoint: Annotated[str, Field(description="The signed tree head (C2SP tlog-checkpoint) the proof leads to.")]


def receipt_of(service: Service, statement: str) -> Receipt | None:
    """Return the receipt of a statement, or None if the log has none of this digest."""
    found = proof_of(service, statement)
    if found is None:
        return None
    value, size = found["entry"], found["size"]
    entry = Entry(index=found["index"], statement=found["statement"], body=Body(**value["body"]), signatures=value["signatures"])
    leaf = next(service.view.log.entries(found["index"], found["index"] + 1))
    return Receipt(
        entry=entry,
        inclusion=Inclusion(index=found["index"], size=size, leaf=_text(merkle.leaf_hash(leaf)), path=found["path"], root=_text(service.view.log.root(size))),
        checkpoint=found["checkpoint"],
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _entry(index: int, data: bytes) -> Entry:
    value = loads(data)
    return Entry(index=index, statement=parse(data, source=f"entry {index}").id, body=Body(**value["body"]), signatures=value["signatures"])


@router.get("/checkpoint", responses=answered(content={"text/plain": {"schema": {"type": "string"}}}), response_class=Response)
def checkpoint(visit: Program) -> Response:
    """Return the newest checkpoint: the operator's signature under all entries so far, with the cosignatures of witnesses.

    Keep it. Whoever shows you another history later is found out by it: ask for the consistency proof from its size to the newer one.
    """
    return raw(visit, visit.service.view.log.checkpoint().encode(), "text/plain", how="public, max-age=5")


@router.get("/entries", response_model=Entries, responses=answered())
def entries(visit: Program, start: Start = 0, limit: Count = 50) -> Response:
    """Return entries in their order. To follow the log ask again from `next`, or from `size` once `next` is null."""
    with visit.register() as register:
        size = register.size
    first, stop, after = page_of(start, limit, size)
    found = [_entry(first + number, data) for number, data in enumerate(visit.service.view.log.entries(first, stop))]
    return kept(visit, Entries(size=size, entries=found, next=after))


@router.get("/entries/{index}", response_model=Entry, responses=answered(404))
def entry(visit: Program, index: Annotated[int, Path(ge=0, le=LAST, description="Number of the entry, from 0.")]) -> Response:
    """Return one entry, to the letter: an entry never changes, and none is ever taken away."""
    with visit.register() as register:
        size = register.size
    if index >= size:
        raise nothing_here(f"the log has {size} entries so far")
    return kept(visit, _entry(index, next(visit.service.view.log.entries(index, index + 1))))


@router.get("/statements/{statement}", response_model=Receipt, responses=answered(404))
def statement(visit: Program, statement: StatementDigest) -> Response:
    """Return a statement with the proof that it is in the log: the receipt its author keeps."""
    found = receipt_of(visit.service, statement)
    if found is None:
        raise nothing_here("the log has no statement of this digest")
    return kept(visit, found)


@router.get("/proofs/inclusion", response_model=Inclusion, responses=answered(404))
def inclusion(
    visit: Program,
    index: Annotated[int, Query(ge=0, le=LAST, description="Number of the entry.")],
    size: Annotated[int | None, Query(ge=1, le=LAST, description="Entries of the tree; of the newest checkpoint if you leave it out.")] = None,
) -> Response:
    """Return the proof that an entry is in a tree: check it against a checkpoint you kept."""
    log = visit.service.view.log
    newest = read_body(log.checkpoint()).size
    asked = newest if size is None else size
    if asked > newest or index >= asked:
        raise nothing_here(f"the newest checkpoint is over {newest} entries, and this asks for entry {index} of {asked}")
    leaf = merkle.leaf_hash(next(log.entries(index, index + 1)))
    path = [_text(one) for one in log.inclusion(index, asked)]
    return kept(visit, Inclusion(index=index, size=asked, leaf=_text(leaf), path=path, root=_text(log.root(asked))))


@router.get("/proofs/consistency", response_model=Consistency, responses=answered(404))
def consistency(
    visit: Program,
    old: Annotated[int, Query(ge=1, le=LAST, description="Entries of the older tree: that of a checkpoint you kept.")],
    new: Annotated[int | None, Query(ge=1, le=LAST, description="Entries of the newer tree; of the newest checkpoint if you leave it out.")] = None,
) -> Response:
    """Return the proof that an older tree is the beginning of a newer one: that the log only grew."""
    log = visit.service.view.log
    newest = read_body(log.checkpoint()).size
    asked = newest if new is None else new
    if not old <= asked <= newest:
        raise nothing_here(f"the newest checkpoint is over {newest} entries, and this asks from {old} to {asked}")
    path = [_text(one) for one in log.consistency(old, asked)]
    return kept(visit, Consistency(old=old, new=asked, old_root=_text(log.root(old)), new_root=_text(log.root(asked)), path=path))


@router.get(
    "/tile/{level}/{number:path}",
    responses=answered(404, content={"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}),
    response_class=Response,
)
def tile(
    visit: Program,
    level: Annotated[str, Path(pattern=rf"^({ENTRIES}|[0-9]|[1-5][0-9]|6[0-3])$", description="Level of the hashes, or `entries` for the entries themselves.")],
    number: Annotated[
        str,
        Path(
            max_length=40,
            pattern=r"^(x[0-9]{3}/){0,5}[0-9]{3}(\.p/[1-9][0-9]{0,2})?$",
            description="Number of the tile in groups of three digits, all but the last after an x; `.p/W` for the first W of a tile that is not full.",
            openapi_examples={"full": {"value": "x001/234/067"}, "partial": {"value": "000.p/7"}},
        ),
    ],
) -> Response:
    """Return a tile: up to 256 hashes of one level, or up to 256 entries, each after its length.

    With `/log/checkpoint` this is the layout of C2SP tlog-tiles under the prefix `/api/v1/log`, so its clients read this log as they are.
    """
    log = visit.service.view.log
    found = _TILE.fullmatch(number)
    place: int | str = ENTRIES if level == ENTRIES else int(level)
    if found is None:
        raise nothing_here("this is no name of a tile")
    at, width = int(found[1].replace("x", "").replace("/", "")), int(found[2] or WIDTH)
    below = 0 if isinstance(place, str) else place
    there = (read_body(log.checkpoint()).size >> 8 * below) - at * WIDTH
    if tile_path(place, at, width) != f"tile/{level}/{number}" or not 1 <= width <= WIDTH or width > there:
        raise nothing_here("the tree under the newest checkpoint has no such tile")
    data = log.tile(place, at, width) if isinstance(place, int) else bundle(list(log.entries(at * WIDTH, at * WIDTH + width)))
    return raw(visit, data, "application/octet-stream", how=FOREVER)

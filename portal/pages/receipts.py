"""Receipts: a statement in the log, in words and to the letter, with the proof that it is in, and the commands that check it elsewhere."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.sshsig import NAMESPACE, check
from governance_hooks.statement import entry
from portal.log_words import kind_of, sentence_of
from portal.needs import needs_of
from portal.proving import proof_of
from portal.service import Service
from portal.signing.submitting import armored_blocks, submit
from portal.signing.words import Words, words_of
from portal.visit import Here, Visit

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

Digest = Annotated[str, Path(pattern=r"^sha256:[0-9a-f]{64}$")]


def _found(service: Service, identifier: str) -> dict[str, Any]:
    proof = proof_of(service, identifier)
    if proof is None:
        raise HTTPException(404)
    return proof


@router.get("/receipts/{statement}")
def receipt(visit: Here, statement: Digest) -> Response:
    """Show a receipt; anybody may, for everybody has the log."""
    proof = _found(visit.service, statement)
    value = proof["entry"]["body"]
    body = entry(value, [])[len(b'{"body":') : -len(b',"signatures":[]}')]
    keys = [check(one, body).key for one in proof["entry"]["signatures"]]
    with visit.register() as register:
        own = visit.member == value["author"]  # the words of the signing page say "you"
        words = words_of(visit.service, register, value) if own else Words(kind_of(value["type"]), (sentence_of(visit.service, register, value),))
        about = value["payload"].get("proposal")
        about = about if about in register.proposals else None
        owners = [register.known_keys.get(key.raw, value["author"]) for key in keys]
        # Who signs ten things in a row goes from each to the next: one touch signs one statement, so there is no basket of them.
        needs = needs_of(visit.service, register, visit.account)[:1] if visit.account and visit.member in owners else []
    allowed = [f'{owner} namespaces="{NAMESPACE}" {key.line}' for owner, key in zip(owners, keys, strict=True)]
    signed = list(zip(owners, keys, strict=True))
    return visit.page("receipt.html", proof=proof, words=words, value=value, keys=signed, allowed=allowed, namespace=NAMESPACE, needs=needs, about=about)


@router.get("/receipts/{statement}/receipt.json")
def as_json(visit: Here, statement: Digest) -> Response:
    """Hand out a receipt to keep."""
    return JSONResponse(_found(visit.service, statement), headers={"content-disposition": 'attachment; filename="receipt.json"'})


@router.get("/receipts/{statement}/{name}")
def part(visit: Here, statement: Digest, name: Annotated[str, Path(pattern=r"^(statement\.json|statement\.json\.sig|allowed_signers)$")]) -> Response:
    """Hand out the parts of a receipt as ssh-keygen takes them: the bytes, the signature, and the key it shall be of."""
    proof = _found(visit.service, statement)
    body = entry(proof["entry"]["body"], [])[len(b'{"body":') : -len(b',"signatures":[]}')]
    signatures: list[str] = proof["entry"]["signatures"]
    lines = [f'{proof["entry"]["body"]["author"]} namespaces="{NAMESPACE}" {check(one, body).key.line}\n' for one in signatures]
    data = {"statement.json": body, "statement.json.sig": signatures[0].encode(), "allowed_signers": "".join(lines).encode()}[name]
    return Response(data, media_type="application/octet-stream", headers={"content-disposition": f'attachment; filename="{name}"'})


@router.get("/statements")
def paste(visit: Here) -> Response:
    """Take a statement that was drafted and signed elsewhere."""
    return _form(visit)


def _form(visit: Visit, statement: str = "", signatures: str = "", problem: CoopError | None = None) -> Response:
    status = 200 if problem is None else 409 if isinstance(problem, Refused) else 422
    return visit.page("statements.html", status, statement=statement, signatures=signatures, problem=problem)


@router.post("/statements")
def submitted(visit: Here, statement: Annotated[str, Form(max_length=65_535)], signatures: Annotated[str, Form(max_length=65_535)]) -> Response:
    """Append a statement that carries its own authority: no session is needed, for nothing but the signatures counts."""
    try:
        value = loads(statement.strip().encode(errors="replace"), source="the statement")
        made = submit(visit.service, entry(value, armored_blocks(signatures)))
    except (BadInput, Refused) as error:
        return _form(visit, statement, signatures, error)
    return visit.go(f"/receipts/{made.id}")

"""The signing site: the pages on which keys are made and sign. It has no sessions: who has the link sees the statement, and only a key can sign it."""

from __future__ import annotations

import json
import secrets
from typing import Annotated

from fastapi import APIRouter, Form, Path, Query, Response
from fastapi.responses import RedirectResponse

from governance_hooks.errors import BadInput, Refused
from governance_hooks.requests import ABOUT
from governance_hooks.sshsig import NAMESPACE
from portal import i18n, reasons
from portal.signing.assertion import creation_options, passkey_of, signature_of
from portal.signing.drafting import signing_path
from portal.signing.enrolling import draft_of
from portal.signing.kinds import candidates, needed, new_key, signers
from portal.signing.submitting import armored_blocks, submit_signature
from portal.signing.words import words_of
from portal.store.drafted import Drafted
from portal.visit import Here, Visit

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
Token = Annotated[str, Path(max_length=60, pattern=r"^[A-Za-z0-9_-]+$")]
Signer = Annotated[str, Query(alias="as", pattern=r"^(m-[0-9a-f]{16})?$")]


def _drafted(visit: Visit, identifier: str) -> Drafted:
    found = visit.service.private.drafts.find(identifier)
    if found is None:
        raise Refused(i18n.gettext("There is no such statement any more."), next=i18n.gettext("go back and begin again"))
    return found


@router.get("/")
def front(visit: Here) -> Response:
    """Say what this site is for."""
    return visit.page("signing_front.html")


@router.get("/sign/{identifier}")
def show(visit: Here, identifier: Id, signer: Signer = "") -> Response:
    """Show a statement in plain words and to the letter, and the ways to sign it."""
    return _page(visit, _drafted(visit, identifier), signer)


def _page(visit: Visit, drafted: Drafted, signer: str, problem: Refused | BadInput | None = None) -> Response:
    value = drafted.value
    with visit.register() as register:
        words, need = words_of(visit.service, register, value), needed(register, value)
        brought = new_key(value)
        signed = [*signers(register, value, drafted.body, drafted.signatures)]
        origins = {one.origin for one in register.bylaws.passkey_origins}
        touch = bool(candidates(register, value, signer)) and visit.service.settings.signing_origin in origins
        logged = visit.service.view.positions.get(drafted.digest)
        why = value["payload"].get("reasons") if value["type"] == "coop.proposal/v1" else None
        written = visit.service.house.reason(why) if why else None
    return visit.page(
        "sign.html",
        200 if problem is None else 409,
        drafted=drafted,
        words=words,
        statement=drafted.body.decode(),
        need=need,
        signed=signed,
        brings_key=brought is not None and "new key" not in signed,
        touch=touch,
        signer=signer,
        logged=logged,
        namespace=NAMESPACE,
        problem=problem,
        reasons=None if written is None else reasons.shown(written),
        written=written,
        # Registrars and guardians sign one after the other: they go back to the list of those who ask.
        home="/stewards/admissions" if drafted.kind in ABOUT and signer != drafted.author else drafted.after.get("go", "/"),
    )


@router.get("/sign/{identifier}/statement.json")
def download(visit: Here, identifier: Id) -> Response:
    """Hand out the bytes to be signed elsewhere."""
    headers = {"content-disposition": 'attachment; filename="statement.json"'}
    return Response(_drafted(visit, identifier).body, media_type="application/json", headers=headers)


@router.post("/sign/{identifier}")
def sign(
    visit: Here,
    identifier: Id,
    signer: Signer = "",
    assertion: Annotated[str, Form(max_length=16_000)] = "",
    signature: Annotated[str, Form(max_length=30_000)] = "",
) -> Response:
    """Take a signature: a passkey's answer, or what ssh-keygen wrote."""
    drafted = _drafted(visit, identifier)
    try:
        if assertion:
            with visit.register() as register:
                keys = candidates(register, drafted.value, signer)
            armored = signature_of(assertion, drafted.body, keys)
        else:
            armored = armored_blocks(signature)[0]
        progress = submit_signature(visit.service, drafted, armored)
    except (Refused, BadInput) as error:
        return _page(visit, drafted, signer, error)
    if progress.statement is None:
        return RedirectResponse(f"{signing_path(drafted, signer)}&lang={i18n.current()}", 303)
    where = drafted.after.get("go") or f"/receipts/{progress.statement.id}"
    return visit.go_home(str(where))


@router.get("/enrol/{token}")
def enrol(visit: Here, token: Token) -> Response:
    """Ask the browser to make a passkey."""
    found = visit.service.private.drafts.enrolment(token)
    with visit.register() as register:
        name = register.name
    options = creation_options(visit.service.settings, found.challenge, secrets.token_bytes(32), f"{found.member} · {visit.service.clock()[:10]}", name)
    return visit.page("enrol.html", token=token, options=json.dumps(options))


@router.post("/enrol/{token}")
def enrolled(visit: Here, token: Token, credential: Annotated[str, Form(max_length=30_000)]) -> Response:
    """Take the public key of a new passkey, and go on to the statement that enrols it, which it signs."""
    drafts = visit.service.private.drafts
    found = drafts.enrolment(token)
    key = passkey_of(credential, found.challenge, visit.service.settings)
    drafts.enrolment(token, use=True)
    with visit.register() as register:
        made = draft_of(visit.service, register, found.purpose, found.member, key.line, found.detail, found.session)
    return RedirectResponse(f"{signing_path(made, found.member)}&lang={i18n.current()}", 303)

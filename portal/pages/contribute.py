"""Contributing: texts are written one by one into a basket, in one's own language, and given together with one signature."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Form, Header, Path, Query, Response

import data_pipeline.record
from data_pipeline.language import language_name, parse_tag, suggest_languages
from data_pipeline.record import Draft, problems
from governance_hooks.errors import BadInput, Refused
from governance_hooks.register import Register
from portal import i18n
from portal.diffs import word_changes
from portal.reading import readable_record
from portal.signing.drafting import draft, signing_path
from portal.store.basket import Kept
from portal.visit import Here, Visit

__all__ = ["LICENCES", "router"]

router = APIRouter(include_in_schema=False)

LICENCES = ("NOASSERTION", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "Apache-2.0")

COMPARED = 10
"""Edits in a basket that are shown beside what they change; the others are shown as they are."""

Text = Annotated[str, Form(max_length=110_000)]
Id = Annotated[str, Path(pattern=r"^[0-9a-f-]{16,40}$")]
Record = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]


def _text(text: str) -> str:
    """Return a form's text as it was typed: browsers send line ends as CR LF."""
    return text.replace("\r\n", "\n").strip()


@router.get("/contribute")
def contribute(visit: Here) -> Response:
    """Show the form, and what waits in the basket; the next text mostly has the language of the last."""
    last = visit.service.private.basket.all(visit.signed_in().account)[-1:]
    return _page(visit, replace(last[0].draft, inputs="", targets="", parents=()) if last else Draft("", "", ""), None)


def _page(visit: Visit, written: Draft, problem: BadInput | None, identifier: str | None = None) -> Response:
    with visit.register() as register:
        visit.as_member(register)
        account = visit.signed_in()
        kept = visit.service.private.basket.all(account.account)
        parents = {one.id: _parent(visit, register, one) for one in kept[:COMPARED]}
    # Outside: whoever reads the register meanwhile does not wait for it.
    compared = [(one, word_changes(old.targets, one.draft.targets) if (old := parents.get(one.id)) else None) for one in kept]
    values = {"written": written, "problem": problem, "kept": compared, "licences": LICENCES, "identifier": identifier or secrets.token_hex(16)}
    return visit.page("contribute.html", 200 if problem is None else 422, **values)


def _parent(visit: Visit, register: Register, one: Kept) -> data_pipeline.record.Record | None:
    """Return the text an edit is of; None for a new text, or where the old one may not be read any more."""
    if not one.draft.parents:
        return None
    try:
        return readable_record(visit, register, one.draft.parents[0])
    except Refused:
        return None


@router.post("/contribute")
def keep(
    visit: Here,
    identifier: Annotated[str, Form(alias="id", pattern=r"^[0-9a-f-]{16,40}$")],
    inputs: Text = "",
    targets: Text = "",
    language: Annotated[str, Form(max_length=64)] = "",
    licence: Annotated[str, Form(max_length=64)] = "NOASSERTION",
    parent: Annotated[str, Form(max_length=128)] = "",
    owner: Annotated[str, Form(max_length=64)] = "",
    accept: Annotated[str, Header()] = "",
) -> Response:
    """Put a text into the basket. The browser's outbox sends the same form later, under the same id, and is told in one word."""
    with visit.register() as register:
        visit.as_member(register)
    account = visit.signed_in().account
    if owner not in ("", account):  # a page, or a text that waited on the device, of whoever was signed in on it before
        mistaken = Refused(i18n.gettext("this text was written by somebody who is not signed in now"), next=i18n.gettext("sign in as who wrote it"))
        if accept == "text/plain":
            return Response(i18n.told(mistaken.what), 403, media_type="text/plain")
        raise mistaken
    written = Draft(
        _text(inputs),
        _text(targets),
        language.strip(),
        annotation_type="re-annotations" if parent else "original-annotations",
        parents=(parent,) if parent else (),
        licence=licence,
    )
    try:
        if parent:
            with visit.register() as register:
                readable_record(visit, register, parent)
        code, tag = parse_tag(written.language, where=i18n.gettext("language"))
        sound = replace(written, language=code, tag=tag)
        for problem in problems(sound):
            raise BadInput(problem.what, value=problem.value, allowed=problem.allowed)
        visit.service.private.basket.put(account, identifier, sound)
    except (BadInput, Refused) as error:
        if accept == "text/plain":
            return Response(i18n.told(error.what), 422, media_type="text/plain")
        if isinstance(error, Refused):
            raise
        return _page(visit, written, error, identifier)
    if accept == "text/plain":
        return Response("kept", media_type="text/plain")
    return visit.go("/contribute")


@router.post("/contribute/{identifier}/remove")
def remove(visit: Here, identifier: Id) -> Response:
    """Throw a text in the basket away."""
    visit.service.private.basket.remove(visit.signed_in().account, identifier)
    return visit.go("/contribute")


@router.post("/contribute/give")
def give(visit: Here) -> Response:
    """Store what is in the basket as one batch, and draft the contribution that seals it."""
    account = visit.signed_in()
    kept = visit.service.private.basket.all(account.account)
    if not kept:
        raise BadInput(i18n.gettext("your basket is empty"), next=i18n.gettext("write a text first"))
    with visit.register() as register:
        member = visit.as_member(register).id
    batch = visit.service.house.contributions().add_batch(member, [one.draft for one in kept])
    with visit.register() as register:
        made = draft(visit.service, register, "coop.contribution/v1", batch.payload(), member, basket=[one.id for one in kept], go="/contribute/given")
    return visit.go_sign(signing_path(made, member))


@router.get("/contribute/given")
def given(visit: Here) -> Response:
    """Thank the member, and say what is needed for the texts to be used."""
    with visit.register() as register:
        member = visit.as_member(register).id
        allows = any(grant.withdrawn is None for grant in register.grants.get(member, []))
    return visit.page("given.html", allows=allows)


@router.get("/improve/{record}")
def improve(visit: Here, record: Record) -> Response:
    """Show somebody's text with a copy to make better."""
    with visit.register() as register:
        visit.as_member(register)
        found = readable_record(visit, register, record)
    return visit.page("improve.html", record=found, identifier=secrets.token_hex(16), licences=LICENCES)


@router.get("/languages")
def suggest(visit: Here, q: Annotated[str, Query(max_length=40)] = "") -> Response:
    """Return the code of a language, for whoever knows only its name."""
    found = [(code, i18n.language_name(code), language_name(code)) for code in suggest_languages(q)] if q.strip() else []
    return visit.page("languages.html", found=found, q=q)

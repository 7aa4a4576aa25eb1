"""Joining: a pseudonym, a key of one's own, and registrars who agree; or, for a member, showing that this account is theirs."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Response

from governance_hooks.errors import BadInput, Refused
from governance_hooks.register import Register
from governance_hooks.sshsig import PublicKey
from governance_hooks.state.membership import Declined
from portal import i18n
from portal.log_words import reason_in_words
from portal.signing.drafting import draft, signing_path
from portal.signing.enrolling import draft_of
from portal.signing.kinds import ACCOUNT, needed, signers
from portal.signing.requests import declined, opening_of
from portal.store.drafted import Drafted
from portal.visit import Here

__all__ = ["key_line", "put_aside", "router"]

router = APIRouter(include_in_schema=False)

Line = Annotated[str, Form(max_length=2000)]


@router.get("/join")
def join(visit: Here) -> Response:
    """Show how to join, or how it stands."""
    account, asked, aside = visit.account, None, None
    with visit.register() as register:
        need = register.bylaws.registrars_required
        passkeys = visit.service.settings.signing_origin in {one.origin for one in register.bylaws.passkey_origins}
        if account and account.asks_as:
            found = visit.service.private.drafts.open(kind="coop.admission/v1", author=account.asks_as)
            asked = found[-1] if found else None
            aside = put_aside(register, asked) if asked else None
        left = bool(account and account.member and account.member in register.members and register.members[account.member].left is not None)
        total = needed(register, asked.value) if asked else 0
        have = len(signers(register, asked.value, asked.body, asked.signatures)) if asked else 0
    return visit.page(
        "join.html",
        need=need,
        passkeys=passkeys,
        asked=asked,
        aside=aside,
        have=have,
        total=total,
        left=left,
        path_to_sign=signing_path(asked, asked.author) if asked else "",
    )


@dataclass(frozen=True, slots=True)
class Aside:
    """A request that was declined, for whoever asked."""

    declined: Declined
    why: str
    opening: str
    """What shows that the log's entry is about this request."""


def put_aside(register: Register, asked: Drafted) -> Aside | None:
    """Return what a registrar said of a request; None if nobody declined it."""
    opening, found = opening_of(asked), declined(register, asked)
    return None if opening is None or found is None else Aside(found, reason_in_words(found.reason), opening.dumps().decode())


def _pseudonym(visit: Here) -> str:
    """Return the pseudonym an account asks to be admitted as, drawn at the first time."""
    account = visit.signed_in()
    if account.member is not None:
        with visit.register() as register:
            if register.members[account.member].left is None:
                raise Refused(i18n.gettext("you are a member already"), value=account.member)
        visit.service.private.accounts.release(account.account)
    elif account.asks_as is not None:
        return account.asks_as
    member = "m-" + secrets.token_hex(8)
    visit.service.private.accounts.ask(account.account, member)
    return member


@router.post("/join/passkey")
def with_passkey(visit: Here) -> Response:
    """Go and make a passkey."""
    return visit.go_sign("/enrol/" + visit.service.private.drafts.begin_enrolment(_pseudonym(visit), "join", session=visit.session))


@router.post("/join/key")
def with_key(visit: Here, line: Line) -> Response:
    """Take the public key of a key in a file, and go on to the request it signs."""
    member = _pseudonym(visit)
    with visit.register() as register:
        made = draft_of(visit.service, register, "join", member, key_line(line), session=visit.session)
    return visit.go_sign(signing_path(made, member))


@router.post("/join/prove")
def prove(visit: Here, line: Line) -> Response:
    """Draft the proof that a member's key and this account belong to the same person."""
    account = visit.signed_in()
    with visit.register() as register:
        raw = PublicKey.from_line(key_line(line)).raw
        owner = register.known_keys.get(raw, "")
        if owner not in register.members or raw not in register.members[owner].keys:  # who left still erases what they gave, so they come back too
            raise Refused(i18n.gettext("this key is no member's"), next=i18n.gettext("paste the public key you joined with"))
        if account.member is not None:
            raise Refused(i18n.gettext("this account belongs to a member already"), value=account.member)
        payload = {"account": account.account, "portal": visit.service.settings.origin}
        made = draft(visit.service, register, ACCOUNT, payload, owner, go="/", session=visit.session)
    return visit.go_sign(signing_path(made, owner))


def key_line(text: str) -> str:
    """Return a pasted public key in its one form."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if len(lines) != 1:
        raise BadInput("one public key is one line", value=text[:60], allowed="ssh-ed25519 AAAA..., what is in ~/.ssh/id_ed25519.pub")
    return PublicKey.from_line(lines[0]).line

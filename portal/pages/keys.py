"""A member's keys and devices: add, put another in the place of one, revoke, name guardians, recover, stop a recovery."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Response

from governance_hooks.errors import BadInput, Refused
from governance_hooks.register import Register
from governance_hooks.sshsig import PublicKey
from governance_hooks.state.membership import Member
from portal import i18n
from portal.pages.join import key_line, put_aside
from portal.signing.drafting import draft, signing_path
from portal.signing.enrolling import draft_of
from portal.signing.kinds import needed, signers
from portal.signing.words import words_of
from portal.view import View
from portal.visit import Here

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

Line = Annotated[str, Form(max_length=2000)]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the log, and when it was issued."""

    position: int
    issued: str


@dataclass(frozen=True, slots=True)
class Held:
    """A key in force, for people."""

    kind: str
    fingerprint: str
    line: str
    last: bool
    since: Entry
    """What brought it into force."""
    signed: Entry | None
    """What it signed last; None if that was nothing since then."""


def held(view: View, register: Register, member: Member) -> list[Held]:
    """Return a member's keys in force, the oldest first; hold the register."""
    keys, since = member.keys, register.in_force_since
    return [_held(view, PublicKey.from_raw(raw), since[raw], last=len(keys) == 1) for raw in sorted(keys, key=lambda raw: (since[raw], raw))]


def _held(view: View, key: PublicKey, since: int, *, last: bool) -> Held:
    words = {True: i18n.gettext("passkey"), False: i18n.gettext("key in a file")}
    kind = words[key.passkey] if key.kind == "ssh-ed25519" or key.passkey else i18n.gettext("security key")
    signed = view.signed.get(key.raw, since)
    return Held(kind, key.fingerprint, key.line, last, _entry(view, since), _entry(view, signed) if signed > since else None)


def _entry(view: View, position: int) -> Entry:
    return Entry(position, view.entry(position).issued)


@router.get("/keys")
def keys(visit: Here) -> Response:
    """Show keys, guardians, what waits for a signature, and a pending recovery."""
    with visit.register() as register:
        member = visit.as_member(register)
        shown, guardians, pending = held(visit.service.view, register, member), sorted(member.guardians), register.recoveries.get(member.id)
        required, delay_days = register.bylaws.recovery_required, -(-register.bylaws.recovery_delay_s // 86_400)
        waiting = [
            (
                words_of(visit.service, register, one.value).lines[0],
                signing_path(one, member.id),
                len(signers(register, one.value, one.body, one.signatures)),
                needed(register, one.value),
            )
            for kind in ("coop.key/v1", "coop.rotation/v1")
            for one in visit.service.private.drafts.open(kind=kind, author=member.id)
        ]
    return visit.page(
        "keys.html", keys=shown, guardians=guardians, pending=pending, required=required, delay_days=delay_days, waiting=waiting, member=member.id
    )


@router.post("/keys/passkey")
def add_passkey(visit: Here) -> Response:
    """Go and make another passkey."""
    with visit.register() as register:
        member = visit.as_member(register).id
    return visit.go_sign("/enrol/" + visit.service.private.drafts.begin_enrolment(member, "add", session=visit.session))


@router.post("/keys/add")
def add_key(visit: Here, line: Line) -> Response:
    """Draft the statement that adds a key in a file."""
    with visit.register() as register:
        member = visit.as_member(register).id
        made = draft_of(visit.service, register, "add", member, key_line(line), session=visit.session)
    return visit.go_sign(signing_path(made, member))


@router.post("/keys/revoke")
def revoke(visit: Here, line: Line) -> Response:
    """Draft the statement that puts a key out of force."""
    with visit.register() as register:
        member = visit.as_member(register)
        if PublicKey.from_line(line).raw not in member.keys:
            raise Refused(i18n.gettext("this is no key of yours that is in force"))
        if len(member.keys) == 1:
            raise Refused(i18n.gettext("this is your last key"), next=i18n.gettext("add another one first"))
        made = draft(visit.service, register, "coop.key/v1", {"action": "revoke", "key": line.strip()}, member.id, go="/keys", session=visit.session)
    return visit.go_sign(signing_path(made, made.author))


@router.post("/keys/guardians")
def name_guardians(visit: Here, guardians: Annotated[str, Form(max_length=1000)] = "") -> Response:
    """Draft the statement that names who may together give the member a new key."""
    with visit.register() as register:
        member = visit.as_member(register)
        named = sorted(set(re.split(r"[\s,]+", guardians.strip())) - {""})
        for one in named:
            if one == member.id:
                raise BadInput(i18n.gettext("nobody is their own guardian"), value=one)
            register.member(one)
        if named and len(named) < register.bylaws.recovery_required:
            raise BadInput(i18n.gettext("too few guardians to ever help you"), value=len(named), allowed=str(register.bylaws.recovery_required))
        made = draft(visit.service, register, "coop.guardians/v1", {"guardians": named}, member.id, go="/keys")
    return visit.go_sign(signing_path(made, member.id))


@router.post("/keys/cancel")
def cancel(visit: Here) -> Response:
    """Draft the statement that stops a recovery."""
    with visit.register() as register:
        member = visit.as_member(register)
        pending = register.recoveries.get(member.id)
        if pending is None:
            raise Refused(i18n.gettext("no recovery of yours is pending"))
        made = draft(visit.service, register, "coop.recovery-cancel/v1", {"recovery": pending.id}, member.id, go="/keys")
    return visit.go_sign(signing_path(made, member.id))


@router.get("/recover")
def lost(visit: Here) -> Response:
    """Show what to do when every key is lost."""
    account = visit.signed_in()
    with visit.register() as register:
        days = -(-register.bylaws.recovery_delay_s // 86_400)
        found = visit.service.private.drafts.open(kind="coop.recovery/v1", author=account.member) if account.member else []
        rows = [
            (
                one,
                signing_path(one, one.author),
                len(signers(register, one.value, one.body, one.signatures)),
                needed(register, one.value),
                put_aside(register, one),
            )
            for one in found
        ]
        required = register.bylaws.recovery_required
    return visit.page("recover.html", days=days, rows=rows, required=required)


def _for_whom(visit: Here, register: Register) -> str:
    member = visit.as_member(register).id
    if member in register.recoveries:
        raise Refused(i18n.gettext("a recovery of your keys is pending already"))
    return member


@router.post("/recover/passkey")
def recover_passkey(visit: Here) -> Response:
    """Go and make the passkey that takes the place of the lost keys."""
    with visit.register() as register:
        member = _for_whom(visit, register)
    return visit.go_sign("/enrol/" + visit.service.private.drafts.begin_enrolment(member, "recover", session=visit.session))


@router.post("/recover/key")
def recover_key(visit: Here, line: Line) -> Response:
    """Draft the recovery with a new key in a file."""
    with visit.register() as register:
        member = _for_whom(visit, register)
        made = draft_of(visit.service, register, "recover", member, key_line(line), session=visit.session)
    return visit.go_sign(signing_path(made, member))

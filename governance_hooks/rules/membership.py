"""Rules of membership: admission by registrars, requests they decline, leaving."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from governance_hooks.errors import Refused
from governance_hooks.payloads.membership import Admission, Decline
from governance_hooks.rules.keys import fresh
from governance_hooks.sentence import Sentence
from governance_hooks.state.membership import Declined, Member

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["admit", "decline", "leave", "refuse_second_founding"]


def refuse_second_founding(register: Register, statement: Statement) -> None:
    """Refuse: a log has one founding statement."""
    raise Refused("this log is founded already", value=statement.id, allowed=register.coop)


def admit(register: Register, statement: Statement) -> None:
    """Admit a member: their own key and enough registrars signed, counted by distinct member."""
    payload = cast(Admission, statement.payload)
    raw = fresh(register, payload.key)
    if payload.member in register.members:
        raise Refused(Sentence("this member id is taken"), value=payload.member)
    if raw not in statement.signers:
        raise Refused("an admission is signed by the new member's key too (proof of possession)", value=payload.member)
    registrars = set()
    for signer in statement.signers - {raw}:
        owner = register.holder(signer)
        if owner is None or owner not in register.bylaws.registrars:
            raise Refused(
                Sentence("an admission is signed by somebody who is no registrar"),
                value=register.known_keys.get(signer, "a key nobody enrolled"),
                allowed=", ".join(register.bylaws.registrars),
            )
        registrars.add(owner)
    if len(registrars) < register.bylaws.registrars_required:
        raise Refused(
            Sentence("too few registrars signed this admission"),
            value=len(registrars),
            allowed=Sentence("{count} distinct registrars", count=register.bylaws.registrars_required),
        )
    if statement.author not in registrars | {payload.member}:
        raise Refused("an admission is stated by one of the registrars who signed, or by the new member", value=statement.author, allowed=", ".join(registrars))
    register.require_community(registrars)
    register.members[payload.member] = Member(payload.member, {raw}, joined=register.size)
    register.known_keys[raw], register.in_force_since[raw] = payload.member, register.size


def decline(register: Register, statement: Statement) -> None:
    """Record that a registrar declines a request, once for each; it hinders no other registrar from agreeing."""
    register.require_recent(statement)
    payload = cast(Decline, statement.payload)
    registrar = register.standing(register.author(statement).id).id
    if registrar not in register.bylaws.registrars:
        raise Refused(Sentence("requests are declined by registrars"), value=registrar, allowed=", ".join(register.bylaws.registrars))
    earlier = register.declined.get(payload.request)
    if earlier is not None:
        raise Refused(Sentence("this request is declined already"), value=earlier.id, next="a registrar who agrees signs the request itself")
    register.declined[payload.request] = Declined(statement.id, payload.about, payload.reason, registrar, statement.issued, register.size)


def leave(register: Register, statement: Statement) -> None:
    """End a membership and every consent of the member."""
    member = register.author(statement)
    member.left = register.size
    register.recoveries.pop(member.id, None)
    for grant in register.grants.get(member.id, []):
        if grant.withdrawn is None:
            grant.withdrawn = register.size

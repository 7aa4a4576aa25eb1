"""Rules of membership and keys: admission by registrars, adding and revoking keys, leaving."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from governance_hooks.errors import Refused
from governance_hooks.payloads import Admission, Key
from governance_hooks.sshsig import PublicKey
from governance_hooks.state import Member

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["admit", "change_key", "leave", "refuse_second_founding"]


def refuse_second_founding(register: Register, statement: Statement) -> None:
    """Refuse: a log has one founding statement."""
    raise Refused("this log is founded already", value=statement.id, allowed=register.coop)


def _fresh(register: Register, line: str) -> bytes:
    raw = PublicKey.from_line(line).raw
    if raw in register.known_keys:
        raise Refused("this key is enrolled already, perhaps under another name", value=register.known_keys[raw], allowed="a key of one's own")
    return raw


def admit(register: Register, statement: Statement) -> None:
    """Admit a member: their own key and enough registrars signed, counted by distinct member."""
    payload = cast(Admission, statement.payload)
    raw = _fresh(register, payload.key)
    if payload.member in register.members:
        raise Refused("this member id is taken", value=payload.member)
    if raw not in statement.signers:
        raise Refused("an admission is signed by the new member's key too (proof of possession)", value=payload.member)
    registrars = set()
    for signer in statement.signers - {raw}:
        owner = register.known_keys.get(signer, "")
        member = register.members.get(owner)
        if owner not in register.bylaws.registrars or member is None or member.left is not None or signer not in member.keys:
            raise Refused(
                "an admission is signed by somebody who is no registrar", value=owner or "a key nobody enrolled", allowed=", ".join(register.bylaws.registrars)
            )
        registrars.add(owner)
    if len(registrars) < register.bylaws.registrars_required:
        raise Refused("too few registrars signed this admission", value=len(registrars), allowed=f"{register.bylaws.registrars_required} distinct registrars")
    register.members[payload.member] = Member(payload.member, {raw}, joined=register.size)
    register.known_keys[raw] = payload.member


def change_key(register: Register, statement: Statement) -> None:
    """Add a key (signed by an old and the new one) or revoke one (signed by any key in force; never the last)."""
    payload = cast(Key, statement.payload)
    member = register.member(statement.author)
    if payload.action == "add":
        raw = _fresh(register, payload.key)
        if raw not in statement.signers or len(statement.signers) != 2 or not (statement.signers - {raw}) <= member.keys:
            raise Refused("adding a key needs the signature of a key in force and of the new key", value=statement.author)
        member.keys.add(raw)
        register.known_keys[raw] = member.id
        return
    register.author(statement)
    raw = PublicKey.from_line(payload.key).raw
    if raw not in member.keys:
        raise Refused("this is no key of yours that is in force", value=payload.key[:40])
    if len(member.keys) == 1:
        raise Refused("this is your last key: add another before revoking it", value=payload.key[:40])
    member.keys.discard(raw)


def leave(register: Register, statement: Statement) -> None:
    """End a membership and every consent of the member."""
    member = register.author(statement)
    member.left = register.size
    for grant in register.grants.get(member.id, []):
        if grant.withdrawn is None:
            grant.withdrawn = register.size

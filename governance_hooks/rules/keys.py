"""Rules of members' keys: adding, revoking and rotating them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from governance_hooks.errors import Refused
from governance_hooks.payloads.membership import Key, Rotation
from governance_hooks.sshsig import PublicKey

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["change", "fresh", "rotate"]


def fresh(register: Register, line: str) -> bytes:
    """Return the identity of a key line; refuse a key that was ever enrolled, by whomever."""
    raw = PublicKey.from_line(line).raw
    if raw in register.known_keys:
        raise Refused("this key is enrolled already, perhaps under another name", value=register.known_keys[raw], allowed="a key of one's own")
    return raw


def change(register: Register, statement: Statement) -> None:
    """Add a key (signed by an old and the new one) or revoke one (signed by any key in force; never the last)."""
    payload = cast(Key, statement.payload)
    member = register.member(statement.author)
    if payload.action == "add":
        raw = fresh(register, payload.key)
        if raw not in statement.signers or len(statement.signers) != 2 or not (statement.signers - {raw}) <= member.keys:
            raise Refused("adding a key needs the signature of a key in force and of the new key", value=statement.author)
        member.keys.add(raw)
        register.known_keys[raw], register.in_force_since[raw] = member.id, register.size
        return
    register.author(statement)
    raw = PublicKey.from_line(payload.key).raw
    if raw not in member.keys:
        raise Refused("this is no key of yours that is in force", value=payload.key[:40])
    if len(member.keys) == 1:
        raise Refused("this is your last key: add another before revoking it", value=payload.key[:40])
    member.keys.discard(raw)


def rotate(register: Register, statement: Statement) -> None:
    """Put a new key in the place of an old one: signed by the new key and any key in force, so also for the last key."""
    payload = cast(Rotation, statement.payload)
    member = register.member(statement.author)
    raw, old = fresh(register, payload.new), PublicKey.from_line(payload.old).raw
    if raw not in statement.signers or len(statement.signers) != 2 or not (statement.signers - {raw}) <= member.keys:
        raise Refused("rotating a key needs the signature of a key in force and of the new key", value=statement.author)
    if old not in member.keys:
        raise Refused("this is no key of yours that is in force", value=payload.old[:40])
    member.keys.discard(old)
    member.keys.add(raw)
    register.known_keys[raw], register.in_force_since[raw] = member.id, register.size

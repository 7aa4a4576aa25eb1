"""Who signs which statement, and how many of them: what the signing page tells people. The register decides, again, when it is appended."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from governance_hooks.errors import Refused
from governance_hooks.fields import Digest, Identifier, Strict
from governance_hooks.register import Register
from governance_hooks.sentence import Sentence
from governance_hooks.sshsig import PublicKey, check

__all__ = ["ACCOUNT", "AT_ONCE", "DOCUMENTS", "ERASURE", "Erasure", "candidates", "needed", "new_key", "require_signer", "signers"]

ACCOUNT = "coop.account/v1"
ERASURE = "coop.erasure/v1"
AT_ONCE: Final = 200
"""Texts, and reasons, that one signature erases at most."""


class AccountProof(Strict):
    """A member says which account of this portal is theirs; kept out of the log."""

    account: Annotated[str, StringConstraints(pattern=r"^a-[0-9a-f]{16}$")]
    portal: Annotated[str, StringConstraints(max_length=300)]
    """Origin of the portal: a proof for one is none for another."""


class Erasure(Strict):
    """Who is a member, or was one, has texts and reasons of theirs erased here. Who got into their mailbox cannot: it takes a key."""

    records: Annotated[list[Identifier], Field(max_length=AT_ONCE)]
    reasons: list[Digest] = Field(default_factory=list, max_length=AT_ONCE)

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if not self.records and not self.reasons:
            raise ValueError("an erasure names what it erases")
        return self


DOCUMENTS: dict[str, type[BaseModel]] = {ACCOUNT: AccountProof, ERASURE: Erasure}
"""Documents of a statement's form that a key signs for the portal alone: also one of who left, that was in force then, for what they gave stays theirs."""


def new_key(value: dict[str, Any]) -> PublicKey | None:
    """Return the key a statement brings, which signs it too; None if it brings none."""
    payload = value["payload"]
    match value["type"]:
        case "coop.admission/v1" | "coop.recovery/v1":
            return PublicKey.from_line(payload["key"])
        case "coop.rotation/v1":
            return PublicKey.from_line(payload["new"])
        case "coop.key/v1" if payload["action"] == "add":
            return PublicKey.from_line(payload["key"])
        case "coop.proposal/v1" if payload["motion"] and payload["motion"]["kind"] in ("admission", "operator"):
            return PublicKey.from_line(payload["motion"].get("key") or payload["motion"]["operator"])
    return None


def needed(register: Register, value: dict[str, Any]) -> int:
    """Return how many keys sign a statement."""
    own = 0 if new_key(value) is None else 1
    match value["type"]:
        case "coop.admission/v1":
            return own + register.bylaws.registrars_required
        case "coop.recovery/v1":
            return own + register.bylaws.recovery_required
        case "coop.proposal/v1":
            return own + int(value["payload"]["rules"]["sponsors"])
        case "coop.halt/v1":
            return register.bylaws.oversight_required
    return own + 1


def people(register: Register, value: dict[str, Any]) -> set[str] | None:
    """Return the members who may sign, beside the key a statement brings; None for every member."""
    author = value["author"]
    match value["type"]:
        case "coop.admission/v1":
            return set(register.bylaws.registrars)
        case "coop.recovery/v1":
            found = register.members.get(value["payload"]["member"])
            return set(register.bylaws.registrars) | (found.guardians if found else frozenset())
        case "coop.proposal/v1":
            return None
        case "coop.halt/v1":
            return set(register.oversight())
    return {author}


def require_signer(register: Register, value: dict[str, Any], key: PublicKey) -> str:
    """Return whose signature this is, a member or `new key`; raise Refused for a key that has no part in the statement."""
    brought = new_key(value)
    if brought is not None and brought.raw == key.raw:
        return "new key"
    owner = register.known_keys.get(key.raw, "")
    member = register.members.get(owner)
    allowed = people(register, value)
    pending = register.recoveries.get(value["author"])
    if value["type"] == "coop.recovery-cancel/v1" and pending is not None and pending.key == key.raw:
        return owner
    gone = member is None or (member.left is not None and value["type"] not in DOCUMENTS)  # nobody's keys change after they left
    if member is None or gone or key.raw not in member.keys or (allowed is not None and owner not in allowed):
        who = Sentence("any member") if allowed is None else ", ".join(sorted(allowed)) or Sentence("nobody at the moment")
        raise Refused("this key has no part in this statement", value=key.fingerprint, allowed=Sentence("keys in force of {who}", who=who))
    return owner


def signers(register: Register, value: dict[str, Any], body: bytes, signatures: Iterable[str]) -> dict[str, str]:
    """Return who signed a statement that waits for others, each with their signature.

    One counts no more whose key has lost its part meanwhile: it was revoked, or its member left or holds the office no more.
    """
    found: dict[str, str] = {}
    for armored in signatures:
        with suppress(Refused):
            found[require_signer(register, value, check(armored, body).key)] = armored
    return found


def candidates(register: Register, value: dict[str, Any], hint: str) -> list[PublicKey]:
    """Return the passkeys an assertion may be of: those of the member who says they sign, of the author, and the one the statement brings.

    An assertion names its passkey by an id that is kept nowhere here; a member has few keys, so each is tried.
    """
    brought = new_key(value)
    found = {brought.raw: brought} if brought is not None else {}
    for one in (hint, value["author"]):
        member = register.members.get(one)
        found |= {raw: PublicKey.from_raw(raw) for raw in sorted(member.keys)} if member else {}
    return [key for key in found.values() if key.passkey]

"""Enrolling a key: a passkey made on the signing site, or any key whose public line somebody pastes. The log's rules decide, not the portal."""

from __future__ import annotations

from typing import Any, Literal

from governance_hooks.errors import BadInput
from governance_hooks.register import Register
from governance_hooks.rules.keys import fresh
from portal.service import Service
from portal.signing.drafting import draft
from portal.store.drafted import Drafted

__all__ = ["Purpose", "draft_of"]

Purpose = Literal["join", "add", "replace", "recover"]


def draft_of(service: Service, register: Register, purpose: str, member: str, line: str, detail: str = "", session: str | None = None) -> Drafted:
    """Draft the statement that enrols a key.

    Args:
        purpose: join, add a key, put it in the place of `detail`, or recover.
        member: whose key it will be.
        line: the public key.
        detail: replace: the key line that goes.
        session: the hash of the session that asks for it, which goes on under another name when the key is in force.

    Raises:
        Refused, BadInput: it is no key, or one that was enrolled before.
    """
    fresh(register, line)
    kinds: dict[str, tuple[str, dict[str, Any], str]] = {
        "join": ("coop.admission/v1", {"member": member, "key": line}, "/join"),
        "add": ("coop.key/v1", {"action": "add", "key": line}, "/keys"),
        "replace": ("coop.rotation/v1", {"old": detail, "new": line}, "/keys"),
        "recover": ("coop.recovery/v1", {"member": member, "key": line}, "/keys"),
    }
    if purpose not in kinds:
        raise BadInput("a key is enrolled for one of four reasons", value=purpose, allowed=", ".join(kinds))
    kind, payload, path = kinds[purpose]
    return draft(service, register, kind, payload, member, go=path, session=session)

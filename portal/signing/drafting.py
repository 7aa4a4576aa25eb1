"""Drafting: from what somebody chose on a page to the exact bytes their key will sign."""

from __future__ import annotations

from typing import Any

from governance_hooks.canonical import dumps
from governance_hooks.payloads.types import PAYLOADS
from governance_hooks.register import Register
from governance_hooks.statement import body
from portal.service import Service
from portal.signing.kinds import DOCUMENTS
from portal.store.drafted import Drafted

__all__ = ["draft", "signing_path"]


def draft(service: Service, register: Register, kind: str, payload: dict[str, Any], author: str, **after: Any) -> Drafted:
    """Keep a statement to be signed, dated now.

    Args:
        kind: type of the statement.
        payload: what it says.
        author: the member in whose name it is.
        after: what happens when it is in the log: `basket` (ids of texts that are given with it), `go` (path to go to),
            `session` (hash of the session that goes on under another name).

    Raises:
        BadInput: the payload does not fit the type.
    """
    made = body(kind, payload, coop=register.coop, author=author, issued=service.clock(), payloads={**PAYLOADS, **DOCUMENTS})
    return service.private.drafts.add(kind, author, dumps(made), after)


def signing_path(drafted: Drafted, signer: str) -> str:
    """Return where on the signing site a member signs it."""
    return f"/sign/{drafted.id}?as={signer}"

"""The proof that a statement is in the log, for receipts on pages and in the API."""

from __future__ import annotations

import base64
from typing import Any

from governance_hooks import merkle
from governance_hooks.canonical import loads
from governance_hooks.checkpoint import read_body
from portal.service import Service

__all__ = ["proof_of"]


def proof_of(service: Service, identifier: str) -> dict[str, Any] | None:
    """Return a statement with the Merkle path from it to the signed checkpoint, or None if the log has none of this digest."""
    with service.view.reading():
        found = service.view.statement(identifier)
    if found is None:
        return None
    index, statement = found
    note = service.view.log.checkpoint()
    size = read_body(note).size
    path = service.view.log.inclusion(index, size)
    return {
        "statement": statement.id,
        "entry": loads(statement.entry),
        "index": index,
        "size": size,
        "path": [base64.b64encode(step).decode() for step in path],
        "checkpoint": note,
        "holds": merkle.verify_inclusion(merkle.leaf_hash(statement.entry), index, size, path, service.view.log.root(size)),
    }

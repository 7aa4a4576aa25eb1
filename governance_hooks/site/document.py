"""Signed documents that are no statements for the log: the same form, the same signatures, types of their own."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from governance_hooks.canonical import dumps, loads
from governance_hooks.sshsig import Signer
from governance_hooks.statement import Statement, body, entry, parse, sign

__all__ = ["body_and_signature", "read_document", "sign_document"]


def sign_document(kind: str, payload: BaseModel, *, coop: str, author: str, key: Signer, issued: str | None = None) -> bytes:
    """Return the bytes of a document signed with one key."""
    made = body(kind, payload, coop=coop, author=author, issued=issued, payloads={kind: type(payload)})
    return entry(made, [sign(made, key)])


def read_document(data: bytes, kinds: Mapping[str, type[BaseModel]], *, source: str) -> Statement:
    """Return a document of one of these types whose signatures verify; whether its signers had the right is the caller's question.

    Raises:
        Refused, BadInput: it is not of the form, or a signature does not verify.
    """
    return parse(data, source=source, payloads=kinds)


def body_and_signature(document: bytes) -> tuple[bytes, str]:
    """Return what was signed, and the first armored signature: what `ssh-keygen -Y verify -n coop-statement@v1` reads."""
    value = loads(document, source="this document")
    return dumps(value["body"]), value["signatures"][0]

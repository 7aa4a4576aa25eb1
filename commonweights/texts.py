"""Texts the log names by digest: questions, options and drafts, kept in the cooperative's folder for whoever wants to read them."""

from __future__ import annotations

from commonweights.workspace import Workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput

__all__ = ["keep_text", "read_text", "shown"]

LIMIT = 1 << 20
"""Longest text, bytes."""


def keep_text(space: Workspace, data: bytes) -> str:
    """Keep a public text under its digest and return the digest; raise BadInput if it is too long."""
    if len(data) > LIMIT:
        raise BadInput("this text is too long", value=len(data), allowed=f"{LIMIT} bytes")
    write_bytes(space.texts / sha256(data)[7:], data)
    return sha256(data)


def read_text(space: Workspace, digest: str) -> bytes | None:
    """Return a kept text whose bytes still have this digest, or None if it is not here."""
    path = space.texts / digest.removeprefix("sha256:")
    data = path.read_bytes() if path.is_file() else b""
    return data if sha256(data) == digest else None


def shown(space: Workspace, digest: str) -> str:
    """Return a text for the terminal, its control characters escaped, or its digest if it is not here."""
    data = read_text(space, digest)
    if data is None:
        return f"{digest[:19]} (the text is not in this folder)"
    return "".join(c if c.isprintable() else " " for c in data.decode("utf-8", errors="replace"))

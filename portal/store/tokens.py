"""Secrets a browser holds: random, and kept here as their hash, so that who reads the database can use none of them."""

from __future__ import annotations

import hashlib
import secrets

__all__ = ["hashed", "new_token"]


def new_token() -> str:
    """Return 256 random bits, safe in URLs."""
    return secrets.token_urlsafe(32)


def hashed(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()

"""Which renderer made a card: another version writes other bytes, and that is no forgery."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from governance_hooks.inventory import file_entry, inventory_digest

__all__ = ["renderer_digest"]

_SOURCES = ("card.py", "front_matter.py", "hostile.py", "iso639.py", "readme.py", "records.py", "schemas.py", "votes.py")
"""The files of this package that decide what card.json and README.md look like."""


@cache
def renderer_digest() -> str:
    """Return the digest of the source files that render cards here."""
    folder = Path(__file__).resolve().parent
    return inventory_digest([file_entry(folder, folder / name) for name in _SOURCES])

"""Which renderer made a card: another version writes other bytes, and that is no forgery."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from governance_hooks.inventory import file_entry, inventory_digest

__all__ = ["renderer_digest"]

_SOURCES = (
    "card.py", "compute.py", "decisions.py", "front_matter.py", "hostile.py", "iso639.py", "layout.py", "measurements.py", "people.py", "previous.py", "promise.py", "records.py", "run_outline.py",
    "schemas.py", "statements.py", "votes.py",
)  # fmt: skip
"""The files of this package that decide, with all of `renderers`, what the rendered files of a release look like."""

_WORDS = ("card_statement.py", "dataset_terms.py", "sentence.py", "verdict.py", "vocabulary.py")
"""Files of governance_hooks whose words stand on the pages."""


@cache
def renderer_digest() -> str:
    """Return the digest of the source files that render cards here."""
    folder = Path(__file__).resolve().parent
    root = folder.parent
    sources = [*(folder / name for name in _SOURCES), *sorted((folder / "renderers").glob("*.py")), *(root / "governance_hooks" / name for name in _WORDS)]
    return inventory_digest([file_entry(root, path) for path in sources])

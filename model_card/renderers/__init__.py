"""Everything that is rendered from a card: path in the bundle -> bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance_hooks.canonical import dumps
from model_card.readme import render
from model_card.records import CardRecords

__all__ = ["is_rendered", "render_all"]


def render_all(card: Mapping[str, Any], records: CardRecords) -> dict[str, bytes]:
    """Return every rendered file of a release; the same card and records give the same bytes."""
    return {"card.json": dumps(dict(card)), "README.md": render(card).encode()}


def is_rendered(path: str) -> bool:
    """Tell whether a path of a release is that of a rendered file."""
    return path in ("card.json", "README.md")

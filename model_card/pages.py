"""The pages of a release follow from its card as card.json holds it, not as it was built: whoever has only that file renders the same."""

from __future__ import annotations

from governance_hooks.canonical import dumps, loads
from model_card.card import make_card
from model_card.records import CardRecords
from model_card.renderers import render_all

__all__ = ["pages_of"]


def pages_of(records: CardRecords) -> dict[str, bytes]:
    """Return every rendered file of a release by its path, card.json among them (BadInput for records that do not belong together)."""
    return render_all(loads(dumps(make_card(records)), floats=True), records)

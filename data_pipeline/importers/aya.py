"""Import contributions in the schema of the Aya dataset; see `json_lines`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from data_pipeline.importers.reading import read as read_any
from data_pipeline.importers.rows import How
from data_pipeline.record import MAX_TEXT_BYTES, NO_LICENCE, Draft
from data_pipeline.store import ContributionStore

__all__ = ["read"]


def read(
    path: Path,
    *,
    store: ContributionStore | None = None,
    member: str | None = None,
    licence: str = NO_LICENCE,
    max_text_bytes: int = MAX_TEXT_BYTES,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Draft]:
    """Return the drafts of a file in file order; arguments and errors as in `reading.read`."""
    how = How(licence=licence, max_text_bytes=max_text_bytes)
    return read_any(path, format="aya", how=how, store=store, member=member, progress=progress).drafts

"""Reading a file of contributions in any known format: every part of it is good, or nothing is imported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from data_pipeline.importers.formats import FORMATS, Format, Item, detect
from data_pipeline.importers.refusal import Refusals
from data_pipeline.importers.rows import How
from data_pipeline.record import Draft, problems
from data_pipeline.store import ContributionStore
from data_pipeline.text import Problem
from governance_hooks.errors import BadInput

__all__ = ["MAX_RECORDS", "Reading", "read"]

MAX_RECORDS: Final = 250_000
"""Most records of one file: they are held until the last one is seen to be good."""
MAX_TEXT: Final = 256 << 20
"""Most characters of text in them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file gave."""

    format: str
    drafts: list[Draft]
    """In file order."""
    left_out: Counter[str] = field(default_factory=Counter)
    """What the format holds and records have no place for -> how often it occurred."""


def read(
    path: Path,
    *,
    format: str | None = None,  # noqa: A002 - the word for it
    how: How | None = None,
    store: ContributionStore | None = None,
    member: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Reading:
    """Return the drafts of a file.

    Args:
        path: the file, or the folder of a Hugging Face dataset.
        format: a name of `formats.FORMATS`; None to find out.
        how: columns, and what rows say that say nothing.
        store: if given, ids already stored are refused, and parents may stand there.
        member: who will contribute; lets a command killed before sealing be run again on the same file.
        progress: called as (label, bytes or rows read, all of them).

    Raises:
        BadInput: lists up to 20 bad parts, each with file, line, what is wrong and what is allowed.
    """
    how = how or How()
    how.require_fields()
    found = FORMATS[format] if format is not None else detect(path)
    left_out: Counter[str] = Counter()
    refusals = Refusals(path, found.unit)
    drafts = list(_sound(found.items(path, how, left_out, progress), refusals, found, how))
    if not refusals and not drafts:
        refusals.add_file(Problem(f"no {found.unit}s"))
    if not refusals:  # parents on lines that were refused would be called unknown
        for number, problem in _against_store(drafts, store, member):
            refusals.add(number, problem)
            if refusals.full:
                break
    refusals.require_none()
    return Reading(found.name, drafts, left_out)


def _sound(items: Iterator[Item], refusals: Refusals, found: Format, how: How) -> Iterator[Draft]:
    places: dict[str, int] = {}
    count = size = 0
    for number, item in items:
        if isinstance(item, Problem):
            refusals.add(number, item)
        else:
            for problem in problems(item, max_text_bytes=how.max_text_bytes):
                refusals.add(number, problem)
            count, size = count + 1, size + len(item.inputs) + len(item.targets) + sum(len(text) for turn in item.history for text in turn)
            if count > MAX_RECORDS or size > MAX_TEXT:
                raise BadInput(
                    f"more than {MAX_RECORDS} texts or {MAX_TEXT >> 20} million characters at {found.unit} {number}; nothing was imported",
                    next="split the file, parents before what builds on them",
                )
            if item.record_id is not None:
                if item.record_id in places:
                    refusals.add(number, Problem("duplicate record id", item.record_id, f"each id once; it stands on {found.unit} {places[item.record_id]}"))
                places.setdefault(item.record_id, number)
            if not refusals:
                yield item
        if refusals.full:
            return


def _against_store(drafts: list[Draft], store: ContributionStore | None, member: str | None) -> Iterator[tuple[int, Problem]]:
    """Yield what only the other records and the store can tell: unknown parents, ids already taken."""
    here = {draft.record_id for draft in drafts if draft.record_id is not None}
    outside = {parent for draft in drafts for parent in draft.parents} - here
    stored = store.existing(outside | here) if store is not None else set()
    repeated = store is not None and member is not None and bool(stored & here) and store.holds_unsealed(member, drafts)
    for draft in drafts:
        for parent in draft.parents:
            if parent not in here and parent not in stored:
                yield draft.line, Problem("unknown parent", parent, "the record_id of a text of this file, or of a stored one")
        if draft.record_id in stored and not repeated:
            yield draft.line, Problem("duplicate record id: already in the store", draft.record_id, "a record id nobody has used")

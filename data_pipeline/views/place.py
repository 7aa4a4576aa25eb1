"""Where a member's records went in one build: in, out with the reason of each, or behind another's row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from data_pipeline.manifest import EXCLUDED, RECORDS, Build, read_ledger
from data_pipeline.parquet import checked_rows
from data_pipeline.store import ContributionStore
from data_pipeline.verify import read_exclusions
from data_pipeline.views.reasons import in_words

__all__ = ["Left", "Place", "own_records", "place"]


@dataclass(frozen=True, slots=True)
class Left:
    """An own record that is not in the build."""

    record: str
    reason: str
    words: str
    """The reason as a member reads it; names no other member."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a build made of a member's records. None where the files or the store that would tell are not at hand."""

    rows: int
    """Rows that rest on the member's text, as the public ledger says."""
    own: int | None
    """Of them, the member's own records; the others were built on them."""
    languages: dict[str, tuple[int, int]]
    """ISO 639-3 -> (rows that rest on the member, all rows of the build)."""
    left: tuple[Left, ...] | None
    """Own records the build left out, in the order of their ids."""
    credited: int | None
    """Rows of others that thank the member, for they say what a record of theirs says."""
    marks: dict[str, int] | None
    """Mark -> rows that rest on the member and carry it."""


def own_records(store: ContributionStore, member: str) -> dict[str, str]:
    """Return {record: its language} of the member's own records, erased ones too."""
    return {record.record: record.language for record in store.records(member=member)}


def place(build: Build, member: str, own: Mapping[str, str] | None = None) -> Place:
    """Return where a member's records went.

    Args:
        build: its folder may lack the private files.
        member: id.
        own: from `own_records`, if there is a store.

    Raises:
        CoopError: a file of the build is not what its manifest names.
    """
    lines = read_ledger(build)
    rows = {line.record: line.language for line in lines if member in line.authors}
    counted = Counter(rows.values())
    left = credited = marks = None
    if own is not None and (build.folder / EXCLUDED).is_file():
        exclusions = read_exclusions(build)
        left = tuple(Left(record, exclusions[record][0], in_words(*exclusions[record])) for record in sorted(own) if record in exclusions)
    if (build.folder / RECORDS).is_file():
        credited, marks = 0, Counter[str]()
        for row in checked_rows(build.records, lines):
            credited += member in row.credited
            if row.line.record in rows:
                marks.update(row.marks)
    return Place(
        rows=len(rows),
        own=None if own is None else sum(record in own for record in rows),
        languages={code: (counted[code], _all(build, code)) for code in sorted(counted)},
        left=left,
        credited=credited,
        marks=None if marks is None else dict(sorted(marks.items())),
    )


def _all(build: Build, language: str) -> int:
    counts = build.manifest["languages"][language]
    return int(counts["train"] + counts["heldout"])

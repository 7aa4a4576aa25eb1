"""Read the rows of a build the only safe way: every row is hashed again and compared with the public ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from data_pipeline.manifest import Build, read_ledger
from data_pipeline.parquet import checked_rows
from data_pipeline.split import Split

__all__ = ["Row", "rows"]


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and answer to train or measure on."""

    record: str
    inputs: str = field(repr=False)
    targets: str = field(repr=False)
    language: str
    """ISO 639-3."""
    authors: tuple[str, ...]
    history: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Earlier turns of prompt and answer, oldest first: context, not learned."""


def rows(build: Build, split: Split | None = None) -> Iterator[Row]:
    """Yield the rows of one side (or all) in the order of their record ids.

    The whole file is read even for one side, and the check that no row is missing comes last: use nothing before the
    iterator has ended.

    Raises:
        CoopError: ledger or rows are not what the manifest names; tells file and row.
    """
    for row in checked_rows(build.records, read_ledger(build)):
        if split is None or row.line.split == split:
            yield Row(row.line.record, row.inputs, row.targets, row.line.language, tuple(row.line.authors), row.history)

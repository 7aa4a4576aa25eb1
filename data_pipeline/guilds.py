"""Put the training rows of a build into guilds, near copies collapsed: a function of the build alone.

rows of the build ──► near copies of a language apart ──► language, kind of work ──► guilds of too few together ──► assignment
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from data_pipeline.manifest import Build, read_ledger
from data_pipeline.parquet import StoredRow, checked_rows
from data_pipeline.stages.near_duplicates import NearDuplicatesParameters, Row, candidates, resolve, signatures
from governance_hooks.stake.guilds import Assignment, merge_small

__all__ = ["Kind", "assign", "kinds_of"]

Kind = Literal["original", "edit", "translation"]


def kinds_of(rows: list[StoredRow]) -> dict[str, Kind]:
    """Return what kind of work each row is: a translation is made from a row of the build in another language, an edit from any other record."""
    languages = {row.line.record: row.line.language for row in rows}
    kinds: dict[str, Kind] = {}
    for row in rows:
        foreign = any(languages.get(parent, row.line.language) != row.line.language for parent in row.parents)
        kinds[row.line.record] = "translation" if foreign else "edit" if row.parents else "original"
    return kinds


def _copies(rows: list[StoredRow]) -> dict[str, str]:
    """Return near copies by record, each with the row that counts: the first by its id, since a build keeps no times."""
    texts = [Row(row.line.language, "\n".join([*(text for turn in row.history for text in turn), row.inputs]), row.targets) for row in rows]
    shared = candidates(signatures(texts))
    order = np.flatnonzero(shared.any(axis=1)).tolist()
    number = {row.line.record: place for place, row in enumerate(rows)}
    parents = {place: [number[parent] for parent in row.parents if parent in number] for place, row in enumerate(rows)}
    found = resolve(shared, order, texts.__getitem__, NearDuplicatesParameters(), parents)
    return {rows[copy.row].line.record: rows[copy.of].line.record for copy in found}


def assign(build: Build, *, guilds: Literal["language", "language-kind"], minimum_members: int) -> Assignment:
    """Return the guild of each training row of a build.

    Raises:
        CoopError: ledger or rows are not what the manifest names.
    """
    everything = list(checked_rows(build.records, read_ledger(build)))
    kinds = kinds_of(everything)
    rows = [row for row in everything if row.line.split == "train"]
    copies = _copies(rows)
    counted = {row.line.record: row.line for row in rows if row.line.record not in copies}
    named = {record: line.language if guilds == "language" else f"{line.language}.{kinds[record]}" for record, line in counted.items()}
    return Assignment(merge_small(named, {record: line.authors for record, line in counted.items()}, minimum_members), copies)

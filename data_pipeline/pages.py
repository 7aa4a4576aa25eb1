"""Reading stored records in the order of their ids, a page at a time, so that a build's memory does not grow with the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, select

from data_pipeline.intake import chunks
from data_pipeline.record import Record
from data_pipeline.schema import batches, records

__all__ = ["as_record", "authors", "claims", "pages", "ranges", "select_records"]


def select_records() -> Select[Any]:
    """Return the query for records, with what their batch knows, in the order of Record's fields."""
    r, b = records.c, batches.c
    return select(
        *(r.record, r.inputs, r.targets, r.language, r.annotation_type, r.user_id, r.parents, r.licence, r.written_at, r.line, r.batch, r.position),
        *(b.statement, b.member, r.authors, r.salt, r.commitment, b.created_at, r.erased_at, r.history, r.tag),
        # An outer join leaves a planner nothing but to walk the records in their order and to look the batch of each up.
    ).join_from(records, batches, r.batch == b.batch, isouter=True)


def as_record(row: Sequence[Any]) -> Record:
    """Return the record of a row of `select_records`."""
    values = list(row)
    values[6] = tuple(values[6].split(" ")) if values[6] else ()
    values[14] = tuple(values[14].split(" "))
    values[19] = tuple(tuple(turn) for turn in json.loads(values[19])) if values[19] else ()
    return Record(*values)


def ranges(connection: Connection, count: int) -> list[tuple[str, str | None]]:
    """Return at most `count` neighbouring ranges (low, high) of record ids with about equally many records, all ids from low to below high.

    The first low is "", the last high None: together they hold every record there is or will be.
    """
    total = connection.execute(select(func.count()).select_from(records)).scalar_one()
    ordered = select(records.c.record).order_by(records.c.record).limit(1)
    cuts = sorted({connection.execute(ordered.offset(total * part // count)).scalar_one() for part in range(1, count) if total * part // count})
    return list(zip(["", *cuts], [*cuts, None], strict=True))


def pages(connection: Connection, low: str, high: str | None, size: int) -> Iterator[list[Record]]:
    """Yield the records from low to below high in the order of their ids, `size` at a time."""
    query = select_records().order_by(records.c.record).limit(size)
    if high is not None:
        query = query.where(records.c.record < high)
    start = records.c.record >= low
    while found := [as_record(row) for row in connection.execute(query.where(start))]:
        yield found
        if len(found) < size:
            return
        start = records.c.record > found[-1].record


def authors(connection: Connection, ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the authors of those of the record ids that are stored."""
    return {
        record: tuple(names.split(" "))
        for chunk in chunks(ids)
        for record, names in connection.execute(select(records.c.record, records.c.authors).where(records.c.record.in_(chunk)))
    }


def claims(connection: Connection) -> set[tuple[tuple[str, ...], str, str]]:
    """Return the distinct (authors, language, statement) of sealed records."""
    query = select(records.c.authors, records.c.language, batches.c.statement).distinct().join_from(records, batches, records.c.batch == batches.c.batch)
    found = connection.execute(query.where(batches.c.statement.is_not(None)))
    return {(tuple(names.split(" ")), language, statement) for names, language, statement in found}

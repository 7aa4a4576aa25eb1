"""Taking drafts into the store: inside one transaction they get ids, salts, authors and commitments, or nothing happens."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, insert, select

from data_pipeline.ancestry import authors_of
from data_pipeline.batch import Batch, batch_root
from data_pipeline.record import Draft, commitment
from data_pipeline.schema import batches, records
from governance_hooks.errors import BadInput

__all__ = ["as_batch", "chunks", "existing", "insert_batch", "insert_rows", "unsealed_twin"]

CHUNK = 500  # ids in one query: SQLite allows 999 bound values in its oldest supported builds


def as_batch(row: Row[Any]) -> Batch:
    """Return the batch of a database row."""
    return Batch(row.batch, row.member, row.created_at, row.records, row.root, row.languages, row.statement)


def chunks(values: Iterable[str]) -> Iterator[list[str]]:
    """Yield the distinct values, sorted, in pieces one query can take."""
    ordered = sorted(set(values))
    for start in range(0, len(ordered), CHUNK):
        yield ordered[start : start + CHUNK]


def unsealed_twin(connection: Connection, member: str, recognised_by: str) -> Batch | None:
    """Return the member's unsealed batch of exactly these drafts, if there is one."""
    same = (batches.c.member == member) & (batches.c.drafts == recognised_by) & batches.c.statement.is_(None)
    row = connection.execute(select(batches).where(same)).first()
    return None if row is None else as_batch(row)


def insert_batch(connection: Connection, member: str, drafts: Sequence[Draft], recognised_by: str, created_at: str) -> Batch:
    """Insert sound drafts as a new batch.

    Raises:
        BadInput: an id that is taken, an unknown or erased parent, a cycle; names the line.
    """
    ids = [draft.record_id or secrets.token_hex(12) for draft in drafts]
    taken = existing(connection, (draft.record_id for draft in drafts if draft.record_id))
    for draft in drafts:
        if draft.record_id in taken:
            raise BadInput(f"line {draft.line}: this record id is already in the store", value=draft.record_id, allowed="a record id nobody has used")
    outside = {parent for draft in drafts for parent in draft.parents} - set(ids)
    known = _authors(connection, outside)
    authors = authors_of(member, list(zip(ids, drafts, strict=True)), known)
    batch = secrets.token_hex(12)
    salts = [secrets.token_hex(16) for _ in drafts]
    commitments = [commitment(salt, record, draft) for salt, record, draft in zip(salts, ids, drafts, strict=True)]
    new = Batch(
        batch=batch,
        member=member,
        created_at=created_at,
        records=len(drafts),
        root=batch_root(commitments),
        languages=dict(sorted(Counter(draft.language for draft in drafts).items())),
        statement=None,
    )
    values = {"batch": batch, "member": member, "created_at": created_at, "drafts": recognised_by, "records": new.records, "root": new.root}
    connection.execute(insert(batches).values(**values, languages=new.languages))
    insert_rows(connection, records, (_row(batch, *given, authors) for given in zip(range(len(ids)), ids, drafts, salts, commitments, strict=True)))
    return new


def _row(batch: str, position: int, record: str, draft: Draft, salt: str, committed: str, authors: Mapping[str, Sequence[str]]) -> tuple[object, ...]:
    history = json.dumps(draft.history, ensure_ascii=False) if draft.history else ""
    who, where = " ".join(authors[record]), " ".join(draft.parents)
    return (
        *(record, batch, position, draft.inputs, draft.targets, history, draft.language, draft.tag, draft.annotation_type, draft.user_id),
        *(where, draft.licence, draft.written_at, draft.line, who, salt, committed, None),
    )


def insert_rows(connection: Connection, table: Table, rows: Iterator[tuple[object, ...]]) -> None:
    """Insert tuples in the order of a table's columns by the driver itself; SQLAlchemy's own work would cost several times the database's."""
    names = ", ".join(column.name for column in table.c)
    cursor: Any = connection.connection.cursor()
    try:
        if connection.dialect.name == "sqlite":
            cursor.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({', '.join('?' * len(table.c))})", rows)  # noqa: S608 - our own names
        else:
            with cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
    finally:
        cursor.close()


def _authors(connection: Connection, ids: set[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for chunk in chunks(ids):
        for row in connection.execute(select(records.c.record, records.c.authors, records.c.erased_at).where(records.c.record.in_(chunk))):
            if row.erased_at is not None:
                raise BadInput(
                    "the text this one builds on was erased", value=row.record, next="hand it in without a parent only if it owes nothing to that text"
                )
            found[row.record] = row.authors.split(" ")
    return found


def existing(connection: Connection, ids: Iterable[str]) -> set[str]:
    """Return those of the record ids that are stored."""
    return {record for chunk in chunks(ids) for record in connection.execute(select(records.c.record).where(records.c.record.in_(chunk))).scalars()}

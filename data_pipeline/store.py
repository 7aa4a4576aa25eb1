"""The contribution store: batches of records, added whole or not at all, sealed by a log statement, erasable.

    drafts -> add_batch -> (member signs the root, the log takes the statement) -> seal -> builds may read it

The log stays the only authority: this file is a private cache of texts. A kill between any two steps leaves a state from
which the same calls go on: `add_batch` returns the unsealed batch that is already there, `seal` may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, delete, insert, inspect, select, update
from sqlalchemy.engine import URL

from data_pipeline.batch import Batch, batch_root, fingerprint, require_sound
from data_pipeline.database import StoreDatabase
from data_pipeline.intake import as_batch, chunks, existing, insert_batch, unsealed_twin
from data_pipeline.pages import as_record, authors, claims, pages, ranges, select_records
from data_pipeline.record import IDENTIFIER, Draft, Record, instant
from data_pipeline.reviews import Reviews
from data_pipeline.schema import FORMAT, batches, metadata, records, store
from governance_hooks.canonical import is_digest
from governance_hooks.errors import BadInput, CoopError

__all__ = ["Batch", "ContributionStore", "batch_root"]  # a batch is what the store hands out


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _at(at: str | None) -> str:
    if at is not None and instant(at) != at:
        raise BadInput("not a time in UTC", value=at, allowed="RFC 3339, for example 2026-11-22T13:00:00Z")
    return at or _now()


class ContributionStore:
    """Batches and records in one database.

    Args:
        location: path of the SQLite file, whose folder must exist, or the URL of a SQLite or PostgreSQL database.

    Raises:
        BadInput: no such folder or driver, or the file is something else.
        CoopError: the database cannot be read or written; the message names it, and shows no password.
    """

    def __init__(self, location: str | Path | URL) -> None:
        self.location = location
        self._database = StoreDatabase(location)
        self.engine, self.name = self._database.engine, self._database.name
        self.reviews = Reviews(self._database)
        """Ratings of the records."""
        with self._transaction() as connection:
            self._database.require_durable(connection)
            there = inspect(connection).has_table(store.name)
        with self._transaction(write=not there) as connection:
            if not there:
                metadata.create_all(connection)
            found = connection.execute(select(store.c.format)).scalars().all()
            if not found and not there:
                connection.execute(insert(store).values(format=FORMAT))
            elif list(found) != [FORMAT]:
                raise BadInput(f"{self.name} is a contribution store of another version", value=found, allowed=FORMAT)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[Connection]:
        with self._database.transaction(write=write) as connection:
            yield connection

    # Adding

    def add_batch(self, member: str, drafts: Sequence[Draft], *, at: str | None = None) -> Batch:
        """Store drafts as one batch of `member` in one transaction and return it.

        If the same drafts of the same member already stand in an unsealed batch, that one is returned: a command killed
        after the commit can be run again. Parents may stand in the store or anywhere in the same batch.

        Raises:
            BadInput: no drafts, a draft no record may hold, an id that is taken, an unknown or erased parent, a cycle.
        """
        created_at = _at(at)
        if not IDENTIFIER.fullmatch(member):
            raise BadInput("not a member id", value=member, allowed="1 to 128 of A-Z a-z 0-9 . _ : -")
        if not drafts:
            raise BadInput("a batch without texts", next="hand in at least one prompt and answer")
        require_sound(drafts)
        recognised_by = fingerprint(member, drafts)
        with self._transaction(write=True) as connection:
            twin = unsealed_twin(connection, member, recognised_by)
            if twin is not None:
                return twin
            return insert_batch(connection, member, drafts, recognised_by, created_at)

    def holds_unsealed(self, member: str, drafts: Sequence[Draft]) -> bool:
        """Tell whether exactly these drafts of this member already stand in an unsealed batch."""
        with self._transaction() as connection:
            return unsealed_twin(connection, member, fingerprint(member, drafts)) is not None

    # Sealing and erasing

    def seal(self, batch: str, statement: str) -> Batch:
        """Link a batch to the log statement that carries its root; from now on builds read it.

        Repeating the same seal changes nothing. Raises BadInput for an unknown batch, CoopError if another statement sealed it
        or the statement sealed another batch. Whether the statement really carries the root is the caller's check.
        """
        if not is_digest(statement):
            raise BadInput("not the digest of a statement", value=statement, allowed="sha256:<64 hex>")
        with self._transaction(write=True) as connection:
            row = connection.execute(select(batches).where(batches.c.batch == batch)).first()
            if row is None:
                raise BadInput("no such batch", value=batch)
            if row.statement not in (None, statement):
                raise CoopError(f"batch {batch} is sealed by another statement", value=row.statement, next="contribute the texts again as a new batch")
            other = connection.execute(select(batches.c.batch).where((batches.c.statement == statement) & (batches.c.batch != batch))).scalar()
            if other is not None:
                raise CoopError(f"the statement already seals batch {other}", value=statement)
            connection.execute(update(batches).where(batches.c.batch == batch).values(statement=statement))
        return self.batch(batch)

    def erase(self, ids: Iterable[str], *, at: str | None = None) -> int:
        """Erase text and salt of records for good and return how many were erased now; the rows stay as tombstones.

        SQLite overwrites freed pages with zeros (secure_delete) and the write-ahead log is cut; on PostgreSQL the table is
        written anew (VACUUM FULL), while the server's own write-ahead log keeps old pages until it recycles them. Backups,
        file-system snapshots and earlier builds are the caller's to erase.
        """
        wanted, moment = sorted(set(ids)), _at(at)
        gone: dict[str, object] = {"inputs": "", "targets": "", "history": "", "salt": "", "user_id": None, "written_at": None, "erased_at": moment}
        erased = 0
        with self._transaction(write=True) as connection:
            unknown = set(wanted) - existing(connection, wanted)
            if unknown:
                raise BadInput(f"{len(unknown)} texts are not in the store", value=sorted(unknown)[:5])
            for chunk in chunks(wanted):
                touched = select(records.c.batch).where(records.c.record.in_(chunk))
                connection.execute(update(batches).where(batches.c.batch.in_(touched)).values(drafts=None))
                erased += connection.execute(update(records).where(records.c.record.in_(chunk) & records.c.erased_at.is_(None)).values(**gone)).rowcount
        self._database.forget(records.name, batches.name)
        return erased

    # Reading

    def records(self, *, member: str | None = None, batch: str | None = None) -> list[Record]:
        """Return stored records in the order of their ids, tombstones and unsealed ones included."""
        query = select_records()
        if member is not None:
            query = query.where(batches.c.member == member)
        if batch is not None:
            query = query.where(batches.c.batch == batch)
        with self._transaction() as connection:
            return sorted((as_record(row) for row in connection.execute(query)), key=lambda record: record.record)

    def ranges(self, count: int) -> list[tuple[str, str | None]]:
        """Return at most `count` neighbouring ranges (low, high) of record ids with about equally many records, for `pages`.

        The first low is "", the last high None: together they hold every record there is or will be.
        """
        with self._transaction() as connection:
            return ranges(connection, count)

    def pages(self, low: str = "", high: str | None = None, size: int = 4096) -> Iterator[list[Record]]:
        """Yield the records with ids from low to below high in the order of their ids, `size` at a time, as they stand at one moment.

        Tombstones and unsealed records are included. Memory is that of one page; the snapshot is held until the last page or `close()`.
        """
        with self._transaction() as connection:
            yield from pages(connection, low, high, size)

    def some(self, ids: Iterable[str]) -> list[Record]:
        """Return those of the record ids that are stored, in their order."""
        with self._transaction() as connection:
            found = [as_record(row) for chunk in chunks(ids) for row in connection.execute(select_records().where(records.c.record.in_(chunk)))]
        return sorted(found, key=lambda record: record.record)

    def authors(self, ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return the authors of those of the record ids that are stored, tombstones included."""
        with self._transaction() as connection:
            return authors(connection, ids)

    def claims(self) -> set[tuple[tuple[str, ...], str, str]]:
        """Return the distinct (authors, language, statement) of sealed records: all that a build has to ask consents for."""
        with self._transaction() as connection:
            return claims(connection)

    def erased(self) -> set[str]:
        """Return the ids of the tombstones."""
        with self._transaction() as connection:
            return set(connection.execute(select(records.c.record).where(records.c.erased_at.is_not(None))).scalars())

    def record(self, record: str) -> Record:
        """Return one record; raise BadInput if there is none."""
        with self._transaction() as connection:
            row = connection.execute(select_records().where(records.c.record == record)).first()
        if row is None:
            raise BadInput("no such text", value=record)
        return as_record(row)

    def existing(self, ids: Iterable[str]) -> set[str]:
        """Return those of the record ids that are in the store."""
        with self._transaction() as connection:
            return existing(connection, ids)

    def batch(self, batch: str) -> Batch:
        """Return one batch; raise BadInput if there is none."""
        with self._transaction() as connection:
            row = connection.execute(select(batches).where(batches.c.batch == batch)).first()
        if row is None:
            raise BadInput("no such batch", value=batch)
        return as_batch(row)

    def batches(self, *, member: str | None = None) -> list[Batch]:
        """Return all batches, or a member's, in the order they came."""
        query = select(batches).order_by(batches.c.position)
        with self._transaction() as connection:
            return [as_batch(row) for row in connection.execute(query if member is None else query.where(batches.c.member == member))]

    def unsealed(self) -> list[Batch]:
        """Return the batches no log statement carries yet, in the order they came."""
        with self._transaction() as connection:
            return [as_batch(row) for row in connection.execute(select(batches).where(batches.c.statement.is_(None)).order_by(batches.c.position))]

    def discard(self, wanted: Iterable[str]) -> int:
        """Remove batches nobody signed for, with their texts, and return how many went.

        One that is sealed stays, and one with a text that another record builds on. Memory is that of the lists of parents in the store.
        """
        gone: list[str] = []
        with self._transaction(write=True) as connection:
            named = {parent for (line,) in connection.execute(select(records.c.parents).where(records.c.parents != "")) for parent in line.split(" ")}
            for chunk in chunks(wanted):
                for batch in connection.execute(select(batches.c.batch).where(batches.c.batch.in_(chunk), batches.c.statement.is_(None))).scalars().all():
                    own = connection.execute(select(records.c.record, records.c.parents).where(records.c.batch == batch)).all()
                    inside = {parent for row in own for parent in row.parents.split(" ")}
                    outside = {row.record for row in own} & named - inside
                    if not outside:
                        connection.execute(delete(records).where(records.c.batch == batch))
                        connection.execute(delete(batches).where(batches.c.batch == batch))
                        gone.append(batch)
        if gone:
            self._database.forget(records.name, batches.name)
        return len(gone)

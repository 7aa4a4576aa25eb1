"""The tables of a log, and its statements as SQLAlchemy writes them for SQLite and for PostgreSQL."""

from __future__ import annotations

import struct
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text, bindparam, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql import Executable

from governance_hooks.errors import CoopError

__all__ = ["COSIGNATURE", "ENTRY", "METADATA", "PAGE", "TILE", "Statement", "Statements", "blob", "number_of"]

PAGE = 256
"""Rows read at a time: at most 16 MiB of entries."""
METADATA = MetaData()
_POSITION = BigInteger().with_variant(Integer, "sqlite")  # SQLite's INTEGER has 64 bits, and only that word makes it the row's own number
ENTRY = Table(
    "entry",
    METADATA,
    Column("position", _POSITION, primary_key=True, autoincrement=False),
    # The checkpoint over the entries up to this one: a table of its own would cost each append one more page to write.
    Column("note", Text),
    Column("data", LargeBinary, nullable=False),
)
TILE = Table(
    "tile",
    METADATA,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", _POSITION, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)
COSIGNATURE = Table(
    "cosignature",
    METADATA,
    Column("size", _POSITION, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("line", Text, nullable=False),
)
_FORBIDDEN = "the log is append-only"
_SQLITE_TRIGGERS = {
    f"entry_{act}": [f"CREATE TRIGGER IF NOT EXISTS entry_{act} BEFORE {act} ON entry BEGIN SELECT RAISE(ABORT, '{_FORBIDDEN}'); END"]
    for act in ("DELETE", "UPDATE")
}
_POSTGRESQL_TRIGGERS = {
    "entry_append_only": [
        f"CREATE OR REPLACE FUNCTION coop_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{_FORBIDDEN}'; END $$",
        "DROP TRIGGER IF EXISTS entry_append_only ON entry",
        "CREATE TRIGGER entry_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON entry FOR EACH STATEMENT EXECUTE FUNCTION coop_append_only()",
    ]
}
_SQLITE_NAMES = "SELECT name FROM sqlite_master"
_POSTGRESQL_NAMES = """SELECT relname FROM pg_class WHERE relkind = 'r' AND pg_table_is_visible(oid)
    UNION ALL SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass('entry')"""


class Statements:
    """The statements of an append, written by SQLAlchemy for the database at hand and run by its driver.

    SQLAlchemy's own work on each call would cost as much as SQLite's.
    """

    def __init__(self, dialect: Dialect) -> None:
        put = sqlite.insert(TILE) if dialect.name == "sqlite" else postgresql.insert(TILE)
        tile = select(TILE.c.hashes).where(TILE.c.level == bindparam("level"), TILE.c.number == bindparam("number"))
        span = select(ENTRY.c.data).where(ENTRY.c.position >= bindparam("start"), ENTRY.c.position < bindparam("stop")).order_by(ENTRY.c.position)
        self._dialect = dialect
        self.size = self._compile(select(func.max(ENTRY.c.position)))
        self.tile = self._compile(tile, "level", "number")
        self.span = self._compile(span, "start", "stop")
        self.insert_entry = self._compile(insert(ENTRY), "position", "note", "data")
        signed = select(ENTRY.c.position, ENTRY.c.note).where(ENTRY.c.note.is_not(None))
        self.newest_note = self._compile(signed.with_only_columns(ENTRY.c.note).order_by(ENTRY.c.position.desc()), limit=" LIMIT 1")
        self.notes = self._compile(signed.where(ENTRY.c.position >= bindparam("start")).order_by(ENTRY.c.position), "start", limit=f" LIMIT {PAGE}")
        self.cosignatures = self._compile(select(COSIGNATURE.c.name, COSIGNATURE.c.line).where(COSIGNATURE.c.size == bindparam("size")), "size")
        self.cosigned_size = self._compile(select(func.max(COSIGNATURE.c.size)).where(COSIGNATURE.c.name == bindparam("name")), "name")
        line = sqlite.insert(COSIGNATURE) if dialect.name == "sqlite" else postgresql.insert(COSIGNATURE)
        newer = line.on_conflict_do_update(index_elements=["size", "name"], set_={"line": line.excluded.line})
        self.put_cosignature = self._compile(newer, "size", "name", "line")
        columns = ["level", "number"]
        self.put_tile = self._compile(put.on_conflict_do_update(index_elements=columns, set_={"hashes": put.excluded.hashes}), *columns, "hashes")

    def insert_entries(self, cursor: Any, start: int, batch: list[bytes], note: str) -> None:
        """Insert entries from position `start` on, the last with the checkpoint; many into PostgreSQL by COPY, more than twice as fast as INSERT."""
        body = batch[:-1]
        if self._dialect.name == "sqlite" and body:
            self.insert_entry.run(cursor, *[(position, None, data) for position, data in enumerate(body, start=start)])
        elif body:
            self._copy(cursor, start, body)
        self.insert_entry.run(cursor, (start + len(body), note, batch[-1]))

    def _copy(self, cursor: Any, start: int, batch: list[bytes]) -> None:
        with cursor.copy("COPY entry (position, data) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))  # PostgreSQL manual, COPY, "Binary Format"
            for at in range(0, len(batch), PAGE):
                rows = enumerate(batch[at : at + PAGE], start=start + at)
                copy.write(b"".join([struct.pack(">hiqi", 2, 8, position, len(data)) + data for position, data in rows]))
            copy.write(b"\xff\xff")

    def missing(self, cursor: Any) -> list[str]:
        """Return the statements that make what this database lacks of tables and triggers."""
        on_sqlite = self._dialect.name == "sqlite"
        there = {name for (name,) in cursor.execute(_SQLITE_NAMES if on_sqlite else _POSTGRESQL_NAMES).fetchall()}
        wanted = {table.name: [str(CreateTable(table, if_not_exists=True).compile(dialect=self._dialect))] for table in METADATA.sorted_tables}
        wanted |= _SQLITE_TRIGGERS if on_sqlite else _POSTGRESQL_TRIGGERS
        return [sql for name, statements in wanted.items() if name not in there for sql in statements]

    def _compile(self, statement: Executable, *names: str, limit: str = "") -> Statement:
        compiled = statement.compile(dialect=self._dialect)  # type: ignore[attr-defined]  # every Executable of Core has it
        assert not compiled.positional or tuple(compiled.positiontup or ()) == names
        return Statement(str(compiled) + limit, None if compiled.positional else names)


class Statement:
    """The text of a statement, and the names of its parameters where the driver takes them by name."""

    __slots__ = ("names", "sql")

    def __init__(self, sql: str, names: tuple[str, ...] | None) -> None:
        self.sql, self.names = sql, names

    def one(self, cursor: Any, *values: Any) -> Any:
        """Run it and return the first column of the first row, or None."""
        cursor.execute(self.sql, self._bind(values))
        row = cursor.fetchone()
        return None if row is None else row[0]

    def run(self, cursor: Any, *rows: tuple[Any, ...]) -> Any:
        """Run it once for each row of values and return the cursor."""
        if len(rows) == 1:
            cursor.execute(self.sql, self._bind(rows[0]))
        else:
            cursor.executemany(self.sql, [self._bind(row) for row in rows] if self.names else rows)
        return cursor

    def _bind(self, values: tuple[Any, ...]) -> Any:
        return dict(zip(self.names, values, strict=True)) if self.names else values


def blob(value: object) -> bytes:
    """Return a row's bytes of an entry or a tile; raise CoopError for another type, which a damaged row can hold: `bytes` of a number is so many zeros."""
    if not isinstance(value, bytes):
        raise CoopError("the log's database holds no bytes where an entry or a tile belongs", value=type(value).__name__, next="coop audit")
    return value


def number_of(value: object) -> int:
    """Return a row's number; raise CoopError for another type."""
    if not isinstance(value, int):
        raise CoopError("the log's database holds no number where a size belongs", value=type(value).__name__, next="coop audit")
    return value

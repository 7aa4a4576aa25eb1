"""The database of a log: its three tables, how it is opened, and the statements of an append."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text, bindparam, create_engine, event, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Dialect, Engine, make_url
from sqlalchemy.sql import Executable

from governance_hooks.errors import BadInput

__all__ = ["CHECKPOINT", "ENTRY", "METADATA", "TILE", "Statement", "Statements", "open_engine"]

METADATA = MetaData()
ENTRY = Table("entry", METADATA, Column("position", Integer, primary_key=True, autoincrement=False), Column("data", LargeBinary, nullable=False))
TILE = Table(
    "tile",
    METADATA,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)
CHECKPOINT = Table("checkpoint", METADATA, Column("size", Integer, primary_key=True, autoincrement=False), Column("note", Text, nullable=False))


class Statements:
    """The statements of an append, written by SQLAlchemy for the database at hand and run by its driver.

    SQLAlchemy's own work on each call would cost as much as SQLite's.
    """

    def __init__(self, dialect: Dialect) -> None:
        if dialect.name not in ("sqlite", "postgresql"):
            raise BadInput("this database cannot keep a log", value=dialect.name, allowed="sqlite, postgresql")
        put = sqlite.insert(TILE) if dialect.name == "sqlite" else postgresql.insert(TILE)
        tile = select(TILE.c.hashes).where(TILE.c.level == bindparam("level"), TILE.c.number == bindparam("number"))
        span = select(ENTRY.c.data).where(ENTRY.c.position >= bindparam("start"), ENTRY.c.position < bindparam("stop")).order_by(ENTRY.c.position)
        self._dialect = dialect
        self.begin = "BEGIN IMMEDIATE" if dialect.name == "sqlite" else None
        self.size = self._compile(select(func.max(ENTRY.c.position)))
        self.tile = self._compile(tile, "level", "number")
        self.span = self._compile(span, "start", "stop")
        self.insert_entry = self._compile(insert(ENTRY), "position", "data")
        self.insert_checkpoint = self._compile(insert(CHECKPOINT), "size", "note")
        columns = ["level", "number"]
        self.put_tile = self._compile(put.on_conflict_do_update(index_elements=columns, set_={"hashes": put.excluded.hashes}), *columns, "hashes")

    def _compile(self, statement: Executable, *names: str) -> Statement:
        compiled = statement.compile(dialect=self._dialect)  # type: ignore[attr-defined]  # every Executable of Core has it
        assert not compiled.positional or tuple(compiled.positiontup or ()) == names
        return Statement(str(compiled), None if compiled.positional else names)


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


def open_engine(url: str | URL, read_only: bool) -> Engine:
    """Return the engine of a database URL; SQLite commits durably (write-ahead log, synchronous=FULL)."""
    made = make_url(url)
    if made.get_backend_name() == "sqlite" and made.database and read_only:
        # Quoted: in a folder named a%41 SQLite would otherwise read the log of the folder aA.
        made = made.set(database="file:" + quote(made.database), query={"mode": "ro", "uri": "true"})
    engine = create_engine(made)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _pragmas(connection: Any, record: object) -> None:
            connection.isolation_level = None  # ours are the only BEGINs
            connection.text_factory = lambda data: data.decode(errors="replace")  # a damaged note is read, and then refused by its signature
            connection.execute("PRAGMA busy_timeout=10000")
            if not read_only:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    return engine

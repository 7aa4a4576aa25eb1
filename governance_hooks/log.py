"""The log: an append-only Merkle log (RFC 6962 hashing) in SQLite, or any database SQLAlchemy speaks to.

Leaf and inner hashes are kept as 256-wide tiles, as in C2SP tlog-tiles, so a root or a proof costs a few small reads
whatever the size. Appending is one transaction, durable when it returns (synchronous=FULL). One writer at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text, create_engine, event, func, insert, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DatabaseError

from governance_hooks import merkle
from governance_hooks.errors import CoopError

__all__ = ["Log"]

_WIDTH = 256
_METADATA = MetaData()
_ENTRY = Table("entry", _METADATA, Column("position", Integer, primary_key=True, autoincrement=False), Column("data", LargeBinary, nullable=False))
_TILE = Table(
    "tile",
    _METADATA,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)
_CHECKPOINT = Table("checkpoint", _METADATA, Column("size", Integer, primary_key=True, autoincrement=False), Column("note", Text, nullable=False))


def _engine(url: str, read_only: bool) -> Engine:
    if url.startswith("sqlite") and read_only:
        path = url.removeprefix("sqlite:///")
        url = f"sqlite:///file:{path}?mode=ro&uri=true"
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _pragmas(connection: Any, record: object) -> None:
            connection.isolation_level = None  # SQLAlchemy's BEGIN below is the only one
            connection.execute("PRAGMA busy_timeout=10000")
            if not read_only:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")

    return engine


class Log:
    """An open log; `with Log.open(path) as log:`."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self._engine = _engine(url, read_only)
        if not read_only:
            _METADATA.create_all(self._engine)
            self._forbid_changes()

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Log:
        """Open a SQLite log file; raise CoopError if it cannot be read."""
        if read_only and not path.is_file():
            raise CoopError(f"there is no log at {path}", next="coop init, or give the cooperative's folder with -C")
        try:
            return cls(f"sqlite:///{path}", read_only=read_only)
        except DatabaseError as error:
            raise CoopError(f"cannot open the log {path}: {error.orig}", next="check the disk, then coop audit") from error

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release the database."""
        self._engine.dispose()

    def _forbid_changes(self) -> None:
        if self._engine.dialect.name != "sqlite":
            return
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            for act in ("DELETE", "UPDATE"):
                connection.exec_driver_sql(
                    f"CREATE TRIGGER IF NOT EXISTS entry_{act} BEFORE {act} ON entry BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
                )

    @property
    def size(self) -> int:
        """Number of entries."""
        with self._engine.connect() as connection:
            return self._size(connection)

    @staticmethod
    def _size(connection: Connection) -> int:
        highest = connection.execute(select(func.max(_ENTRY.c.position))).scalar()
        return 0 if highest is None else int(highest) + 1

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the entries [start, stop) in order."""
        query = select(_ENTRY.c.data).where(_ENTRY.c.position >= start).order_by(_ENTRY.c.position)
        if stop is not None:
            query = query.where(_ENTRY.c.position < stop)
        with self._engine.connect() as connection:
            for (data,) in connection.execute(query):
                yield bytes(data)

    def append(self, batch: list[bytes], *, expected_size: int, note: Any) -> str:
        """Append entries in one durable transaction together with the checkpoint over them.

        Args:
            batch: entry bytes, in order.
            expected_size: size the writer's state was computed at; another writer in between is an error.
            note: called with (size, root) and returns the signed checkpoint.

        Raises:
            CoopError: another writer was faster, or the database could not be written (nothing is appended).
        """
        try:
            with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
                size = self._size(connection)
                if size != expected_size:
                    raise CoopError("another writer appended to this log meanwhile", value=size, allowed=str(expected_size), next="run the command again")
                connection.execute(insert(_ENTRY), [{"position": size + i, "data": data} for i, data in enumerate(batch)])
                dirty: dict[tuple[int, int], bytearray] = {}
                for i, data in enumerate(batch):
                    self._push(connection, dirty, 0, merkle.leaf_hash(data), size + i)
                for (level, number), hashes in dirty.items():
                    connection.execute(_TILE.delete().where(_TILE.c.level == level, _TILE.c.number == number))
                    connection.execute(insert(_TILE).values(level=level, number=number, hashes=bytes(hashes)))
                new = size + len(batch)
                text: str = note(new, self._root(connection, new))
                connection.execute(insert(_CHECKPOINT).values(size=new, note=text))
                return text
        except DatabaseError as error:
            raise CoopError(
                f"cannot write the log: {error.orig}", next="free space or mend the disk, then run the same command again; nothing was appended"
            ) from error

    def _push(self, connection: Connection, dirty: dict[tuple[int, int], bytearray], level: int, value: bytes, index: int) -> None:
        number, offset = divmod(index, _WIDTH)
        tile = dirty.get((level, number))
        if tile is None:
            tile = dirty[level, number] = bytearray(self._tile(connection, level, number))
        if len(tile) != 32 * offset:
            raise CoopError("the log's tiles do not match its entries", value=f"level {level}, tile {number}", next="coop audit")
        tile += value
        if offset == _WIDTH - 1:
            self._push(connection, dirty, level + 1, merkle.root([bytes(tile[i : i + 32]) for i in range(0, len(tile), 32)]), number)

    @staticmethod
    def _tile(connection: Connection, level: int, number: int) -> bytes:
        found = connection.execute(select(_TILE.c.hashes).where(_TILE.c.level == level, _TILE.c.number == number)).scalar()
        return b"" if found is None else bytes(found)

    def _range(self, connection: Connection, start: int, stop: int) -> bytes:
        """Return the tree hash of leaves [start, stop), reading one tile for a perfect subtree."""
        width = stop - start
        if width & (width - 1) == 0 and start % width == 0:
            height = width.bit_length() - 1
            level, rest = divmod(height, 8)
            number, offset = divmod((start >> height) << rest, _WIDTH)
            tile = self._tile(connection, level, number)
            return merkle.root([tile[32 * (offset + i) : 32 * (offset + i + 1)] for i in range(1 << rest)])
        middle = start + (1 << (width - 1).bit_length() - 1)
        return merkle.node_hash(self._range(connection, start, middle), self._range(connection, middle, stop))

    def _root(self, connection: Connection, size: int) -> bytes:
        return self._range(connection, 0, size) if size else hashlib.sha256(b"").digest()

    def root(self, size: int | None = None) -> bytes:
        """Return the Merkle root (32 bytes) over the first `size` entries; of all, if None."""
        with self._engine.connect() as connection:
            return self._root(connection, self._size(connection) if size is None else size)

    def checkpoint(self) -> str:
        """Return the newest signed checkpoint."""
        with self._engine.connect() as connection:
            note = connection.execute(select(_CHECKPOINT.c.note).order_by(_CHECKPOINT.c.size.desc()).limit(1)).scalar()
        if note is None:
            raise CoopError("this log has no checkpoint yet", next="coop init")
        return str(note)

    def checkpoints(self) -> Iterator[tuple[int, str]]:
        """Yield (size, note) of every checkpoint ever signed, oldest first."""
        with self._engine.connect() as connection:
            for size, note in connection.execute(select(_CHECKPOINT.c.size, _CHECKPOINT.c.note).order_by(_CHECKPOINT.c.size)):
                yield int(size), str(note)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the audit path of entry `index` in the tree of `size` entries."""
        with self._engine.connect() as connection:
            return merkle.inclusion_proof(index, size, lambda start, stop: self._range(connection, start, stop))

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of `old` entries is a prefix of that of `new` entries."""
        with self._engine.connect() as connection:
            return merkle.consistency_proof(old, new, lambda start, stop: self._range(connection, start, stop))

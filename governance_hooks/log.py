"""The log: an append-only Merkle log (RFC 6962 hashing) in SQLite, or any database SQLAlchemy speaks to.

Leaf and inner hashes are kept as 256-wide tiles, as in C2SP tlog-tiles, so a root or a proof costs a few small reads
whatever the size. The tile of the newest, fewer than 256 entries is not stored but hashed from them, so that an append
writes its entry and its checkpoint and little else. Appending is one transaction, durable when it returns
(synchronous=FULL). One writer at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import URL, delete, func, insert, inspect, select
from sqlalchemy.exc import DatabaseError

from governance_hooks import merkle
from governance_hooks.errors import CoopError
from governance_hooks.log_sql import CHECKPOINT, COSIGNATURE, ENTRY, METADATA, Statements, open_engine
from governance_hooks.tail import WIDTH, Tail, levels

__all__ = ["Log"]


class Log:
    """An open log; `with Log.open(path) as log:`."""

    def __init__(self, url: str | URL, *, read_only: bool = False) -> None:
        self._engine = open_engine(url, read_only)
        self._sql = Statements(self._engine.dialect)
        self._failure: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        self._tail = Tail()
        if not read_only:
            METADATA.create_all(self._engine)
            self._forbid_changes()

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Log:
        """Open a SQLite log file; raise CoopError if it cannot be read."""
        if read_only and not path.is_file():
            raise CoopError(f"there is no log at {path}", next="coop init, or give the cooperative's folder with -C")
        try:
            return cls(URL.create("sqlite", database=str(path)), read_only=read_only)
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
        with self._transaction(writes=True) as cursor:
            for act in ("DELETE", "UPDATE"):
                cursor.execute(f"CREATE TRIGGER IF NOT EXISTS entry_{act} BEFORE {act} ON entry BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END")

    @property
    def size(self) -> int:
        """Number of entries."""
        with self._transaction() as cursor:
            return self._size(cursor)

    def _size(self, cursor: Any) -> int:
        highest = self._sql.size.one(cursor)
        return 0 if highest is None else int(highest) + 1

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the entries [start, stop) in order."""
        query = select(ENTRY.c.data).where(ENTRY.c.position >= start).order_by(ENTRY.c.position)
        if stop is not None:
            query = query.where(ENTRY.c.position < stop)
        with self._engine.connect() as connection:
            for (data,) in connection.execute(query.execution_options(yield_per=1000)):  # never the whole log at once
                yield bytes(data)

    def append(self, batch: list[bytes], *, expected_size: int, note: Callable[[int, bytes], str], expected_root: bytes | None = None) -> str:
        """Append entries in one durable transaction together with one checkpoint over them.

        Args:
            batch: entry bytes, in order.
            expected_size: size the writer's state was computed at; another writer in between is an error.
            note: called with (size, root) and returns the signed checkpoint.
            expected_root: root the tree must have before the append; not checked, if None.

        Raises:
            CoopError: another writer was faster, the tree is not the expected one, or the database could not be written.
                Nothing is appended.
        """
        try:
            with self._transaction(writes=True) as cursor:
                size = self._size(cursor)
                if size < expected_size:
                    raise CoopError("the log was rolled back while it was open: nothing is appended", value=size, allowed=str(expected_size), next="coop audit")
                if size != expected_size:
                    raise CoopError("another writer appended to this log meanwhile", value=size, allowed=str(expected_size), next="run the command again")
                # The transaction holds the write lock, so a tail of this size is the tail of what is stored.
                tail = self._tail.copy() if self._tail.size == size else self._read_tail(cursor, size)
                if expected_root is not None and tail.root() != expected_root:
                    self._tail = Tail()
                    raise CoopError("the stored entries do not hash to the newest checkpoint: nothing is signed over them", value=size, next="coop audit")
                if batch:
                    self._sql.insert_entry.run(cursor, *enumerate(batch, start=size))
                    tiles = tail.extend(batch)
                    if tiles:
                        self._sql.put_tile.run(cursor, *tiles)
                text = note(tail.size, tail.root())
                self._sql.insert_checkpoint.run(cursor, (tail.size, text))
            self._tail = tail
            return text
        except self._failure as error:
            raise CoopError(
                f"cannot write the log: {error}", next="free space or mend the disk, then run the same command again; nothing was appended"
            ) from error

    @contextmanager
    def _transaction(self, *, writes: bool = False) -> Iterator[Any]:
        """Yield a driver's cursor in one transaction; a writing one holds SQLite's write lock from its start."""
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            if self._sql.begin:
                cursor.execute(self._sql.begin if writes else "BEGIN")
            try:
                yield cursor
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
        finally:
            connection.close()

    def _read_tail(self, cursor: Any, size: int) -> Tail:
        """Rebuild the tail of a tree of `size` entries from the database."""
        tiles: dict[tuple[int, int], bytes] = {}
        partial = []
        for level in range(levels(size)):
            count = (size >> 8 * level) % WIDTH
            partial.append(self._tile(cursor, level, size >> 8 * (level + 1), count, tiles) if count else b"")
        return Tail.of(size, partial)

    def _tile(self, cursor: Any, level: int, number: int, width: int, seen: dict[tuple[int, int], bytes]) -> bytes:
        """Return at least `width` hashes of a tile; the last, partial tile of level 0 is hashed from its entries."""
        tile = seen.get((level, number), b"")
        if len(tile) < 32 * width:
            tile = bytes(self._sql.tile.one(cursor, level, number) or b"")
            if level == 0 and len(tile) < 32 * WIDTH:
                entries = self._sql.span.run(cursor, (number * WIDTH, (number + 1) * WIDTH))
                tile = b"".join([merkle.leaf_hash(data) for (data,) in entries])
            seen[level, number] = tile
        if len(tile) < 32 * width:
            raise CoopError("the log's tiles do not match its entries", value=f"level {level}, tile {number}", next="coop audit")
        return tile

    def _subtree(self, cursor: Any) -> Callable[[int, int], bytes]:
        """Return the function that gives the tree hash of leaves [start, stop), reading one tile for a perfect subtree."""
        seen: dict[tuple[int, int], bytes] = {}

        def subtree(start: int, stop: int) -> bytes:
            width = stop - start
            if width & (width - 1) == 0 and start % width == 0:
                level, rest = divmod(width.bit_length() - 1, 8)
                number, offset = divmod(start >> 8 * level, WIDTH)
                tile = self._tile(cursor, level, number, offset + (1 << rest), seen)
                return merkle.root([tile[32 * i : 32 * (i + 1)] for i in range(offset, offset + (1 << rest))])
            middle = start + (1 << (width - 1).bit_length() - 1)
            return merkle.node_hash(subtree(start, middle), subtree(middle, stop))

        return subtree

    def root(self, size: int | None = None) -> bytes:
        """Return the Merkle root (32 bytes) over the first `size` entries; of all, if None."""
        with self._transaction() as cursor:
            size = self._size(cursor) if size is None else size
            return self._subtree(cursor)(0, size) if size else merkle.root([])

    def tile(self, level: int, number: int, width: int) -> bytes:
        """Return the first `width` hashes of a tile, 32 bytes each (C2SP tlog-tiles); raise CoopError if there are fewer."""
        with self._transaction() as cursor:
            return self._tile(cursor, level, number, width, {})[: 32 * width]

    def checkpoint(self) -> str:
        """Return the newest signed checkpoint."""
        with self._engine.connect() as connection:
            note = connection.execute(select(CHECKPOINT.c.note).order_by(CHECKPOINT.c.size.desc()).limit(1)).scalar()
        if note is None:
            raise CoopError("this log has no checkpoint yet", next="coop init")
        return str(note)

    def checkpoints(self, start: int = 0) -> Iterator[tuple[int, str]]:
        """Yield (size, note) of every checkpoint ever signed over at least `start` entries, oldest first."""
        query = select(CHECKPOINT.c.size, CHECKPOINT.c.note).where(CHECKPOINT.c.size >= start).order_by(CHECKPOINT.c.size)
        with self._engine.connect() as connection:
            for size, note in connection.execute(query.execution_options(yield_per=1000)):
                yield int(size), str(note)

    def cosignatures(self, size: int) -> dict[str, str]:
        """Return the kept cosignature lines of the checkpoint over `size` entries, by the witness' name."""
        if not inspect(self._engine).has_table(COSIGNATURE.name):  # a log made before there were witnesses, opened read-only
            return {}
        with self._engine.connect() as connection:
            rows = connection.execute(select(COSIGNATURE.c.name, COSIGNATURE.c.line).where(COSIGNATURE.c.size == size))
            return {str(name): str(line) for name, line in rows}

    def cosigned_size(self, name: str) -> int:
        """Return the largest size for which a line of this witness is kept; 0 if there is none."""
        with self._engine.connect() as connection:
            return int(connection.execute(select(func.max(COSIGNATURE.c.size)).where(COSIGNATURE.c.name == name)).scalar() or 0)

    def keep_cosignature(self, size: int, name: str, line: str) -> None:
        """Keep a witness' line for the checkpoint over `size` entries, in the place of an older one of that witness."""
        try:
            with self._engine.begin() as connection:
                connection.execute(delete(COSIGNATURE).where(COSIGNATURE.c.size == size, COSIGNATURE.c.name == name))
                connection.execute(insert(COSIGNATURE).values(size=size, name=name, line=line))
        except DatabaseError as error:
            raise CoopError(f"cannot write the log: {error.orig}", next="free space or mend the disk, then run the same command again") from error

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the audit path of entry `index` in the tree of `size` entries."""
        with self._transaction() as cursor:
            return merkle.inclusion_proof(index, size, self._subtree(cursor))

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of `old` entries is a prefix of that of `new` entries."""
        with self._transaction() as cursor:
            return merkle.consistency_proof(old, new, self._subtree(cursor))

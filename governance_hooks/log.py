"""The log: an append-only Merkle log (RFC 6962 hashing) in SQLite or PostgreSQL.

Leaf and inner hashes are kept as 256-wide tiles, as in C2SP tlog-tiles, so a root or a proof costs a few small reads
whatever the size. The tile of the newest, fewer than 256 entries is not stored but hashed from them, so that an append
writes its entry and its checkpoint and little else. Appending is one transaction, durable when it returns. One writer
at a time: the database's write lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy.engine import URL

from governance_hooks import merkle
from governance_hooks.database import Database
from governance_hooks.errors import CoopError
from governance_hooks.log_sql import PAGE, Statements, blob, number_of
from governance_hooks.tail import WIDTH, Tail, levels

__all__ = ["Log"]


class Log:
    """An open log; `with Log.open(place) as log:`. Many threads may use it."""

    def __init__(self, url: str | URL, *, read_only: bool = False) -> None:
        self._database = Database(url, read_only=read_only)
        self._sql = Statements(self._database.dialect)
        self._tail = Tail()
        self._tail_from: object = None
        """The connection that wrote `_tail`: a failed transaction loses both."""
        if not read_only:
            self._create()

    @classmethod
    def open(cls, place: Path | str | URL, *, read_only: bool = False) -> Log:
        """Open a log: the SQLite file at a path, or the database of a URL (`postgresql://USER@HOST/DATABASE`).

        Raises:
            BadInput: the URL cannot be read, or its driver is not installed.
            CoopError: there is no such file, or the database cannot be reached or read.
        """
        if not isinstance(place, Path):
            return cls(place, read_only=read_only)
        if read_only and not place.is_file():
            raise CoopError(f"there is no log at {place}", next="coop init, or give the cooperative's folder with -C")
        return cls(URL.create("sqlite", database=str(place)), read_only=read_only)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release the database."""
        self._database.close()

    @property
    def place(self) -> str:
        """Where the log is kept, for people: a file or a URL without its password."""
        return self._database.shown

    def _create(self) -> None:
        with self._database.reading() as cursor:
            if self._database.dialect.name == "postgresql" and cursor.execute("SHOW fsync").fetchone()[0] != "on":
                raise CoopError(
                    "this server acknowledges what it has not written to disk", value="fsync = off", allowed="fsync = on", next="change it in postgresql.conf"
                )
            if not self._sql.missing(cursor):
                return
        with self._database.writing() as cursor:
            for sql in self._sql.missing(cursor):
                cursor.execute(sql)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the write lock, so that what is read in this block is what an append in it goes on from.

        The append is durable when the block has ended. If it fails, nothing of the block is kept.

        Raises:
            CoopError: another process has been writing for too long.
        """
        with self._database.writing():
            yield

    @property
    def size(self) -> int:
        """Number of entries."""
        with self._database.reading() as cursor:
            return self._size(cursor)

    def _size(self, cursor: Any) -> int:
        highest = self._sql.size.one(cursor)
        return 0 if highest is None else number_of(highest) + 1

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the entries [start, stop) in order, of those there are at the first; a page in memory at a time.

        Each page is a transaction of its own: entries never change, and a slow reader holds up neither vacuum nor WAL.

        Raises:
            CoopError: one of them is missing, or is no bytes.
        """
        end: int | None = None
        while end is None or start < end:
            with self._database.reading() as cursor:
                if end is None:
                    end = self._size(cursor) if stop is None else min(stop, self._size(cursor))
                after = min(start + PAGE, end)
                page = self._sql.span.run(cursor, (start, after)).fetchall() if start < after else []  # mostly who looks for new ones finds none
            for (data,) in page:
                yield blob(data)
            if len(page) < after - start:  # else a damaged number of the last one would have us look for entries without end
                raise CoopError("the log lacks an entry", value=f"{len(page)} of the entries {start} to {after - 1}", next="coop audit")
            start += PAGE

    def append(self, batch: list[bytes], *, expected_size: int, note: Callable[[int, bytes], str], expected_root: bytes | None = None) -> str:
        """Append entries in one transaction together with one checkpoint over them: durable when this returns, or when `exclusive` ends.

        Args:
            batch: entry bytes, in order; at least one.
            expected_size: size the writer's state was computed at; another writer in between is an error.
            note: called with (size, root) and returns the signed checkpoint.
            expected_root: root the tree must have before the append; not checked, if None.

        Raises:
            CoopError: another writer was faster, the tree is not the expected one, or the database could not be written.
                Nothing is appended, unless the error says that this is not known.
        """
        with self._database.writing() as cursor:
            size = self._size(cursor)
            if size < expected_size:
                raise CoopError("the log was rolled back while it was open: nothing is appended", value=size, allowed=str(expected_size), next="coop audit")
            if size != expected_size:
                raise CoopError("another writer appended to this log meanwhile", value=size, allowed=str(expected_size), next="run the command again")
            # The transaction holds the write lock, so a tail of this size that was committed is the tail of what is stored.
            tail, known, self._tail_from = self._tail, self._tail_from is cursor.connection, None
            if not known or tail.size != size:
                tail = self._read_tail(cursor, size)
            if expected_root is not None and tail.root() != expected_root:
                raise CoopError("the stored entries do not hash to the newest checkpoint: nothing is signed over them", value=size, next="coop audit")
            tiles = tail.extend(batch)
            if tiles:
                self._sql.put_tile.run(cursor, *tiles)
            text = note(tail.size, tail.root())
            self._sql.insert_entries(cursor, size, batch, text)
            self._tail, self._tail_from = tail, cursor.connection
            return text

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
            tile = blob(self._sql.tile.one(cursor, level, number) or b"")
            if level == 0 and len(tile) < 32 * WIDTH:
                entries = self._sql.span.run(cursor, (number * WIDTH, (number + 1) * WIDTH))
                tile = b"".join([merkle.leaf_hash(blob(data)) for (data,) in entries])
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
        with self._database.reading() as cursor:
            size = self._size(cursor) if size is None else size
            return self._subtree(cursor)(0, size) if size else merkle.root([])

    def tile(self, level: int, number: int, width: int) -> bytes:
        """Return the first `width` hashes of a tile, 32 bytes each (C2SP tlog-tiles); raise CoopError if there are fewer."""
        with self._database.reading() as cursor:
            return self._tile(cursor, level, number, width, {})[: 32 * width]

    def checkpoint(self) -> str:
        """Return the newest signed checkpoint."""
        with self._database.reading() as cursor:
            note = self._sql.newest_note.one(cursor)
        if note is None:
            raise CoopError("this log has no checkpoint yet", next="coop init")
        return str(note)

    def checkpoints(self, start: int = 0) -> Iterator[tuple[int, str]]:
        """Yield (size, note) of every checkpoint ever signed over at least `start` entries, oldest first; a page at a time."""
        page = [(start - 2, "")]
        while page:
            with self._database.reading() as cursor:
                last, page = page[-1][0], self._sql.notes.run(cursor, (page[-1][0] + 1,)).fetchall()
            for position, note in page:
                if position <= last:  # in a damaged index the next page would be this one again
                    raise CoopError("the log's checkpoints are out of order", value=position, allowed=f"above {last}", next="coop audit")
                yield position + 1, str(note)
                last = position

    def cosignatures(self, size: int) -> dict[str, str]:
        """Return the kept cosignature lines of the checkpoint over `size` entries, by the witness' name."""
        with self._database.reading() as cursor:
            return {str(name): str(line) for name, line in self._sql.cosignatures.run(cursor, (size,)).fetchall()}

    def cosigned_size(self, name: str) -> int:
        """Return the largest size for which a line of this witness is kept; 0 if there is none."""
        with self._database.reading() as cursor:
            return number_of(self._sql.cosigned_size.one(cursor, name) or 0)

    def keep_cosignature(self, size: int, name: str, line: str) -> None:
        """Keep a witness' line for the checkpoint over `size` entries, in the place of an older one of that witness."""
        with self._database.writing() as cursor:
            self._sql.put_cosignature.run(cursor, (size, name, line))

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the audit path of entry `index` in the tree of `size` entries."""
        with self._database.reading() as cursor:
            return merkle.inclusion_proof(index, size, self._subtree(cursor))

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of `old` entries is a prefix of that of `new` entries."""
        with self._database.reading() as cursor:
            return merkle.consistency_proof(old, new, self._subtree(cursor))

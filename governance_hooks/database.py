"""The database server or file of a log: its address, its connections, and the two kinds of transaction a log needs.

SQLite: write-ahead log, synchronous=FULL, `BEGIN IMMEDIATE` is the write lock. PostgreSQL (psycopg 3): synchronous_commit,
an advisory lock of the database is the write lock, which unlike a table's gets in no vacuum's way. Both wait for it for
WAIT_S and say so then. Every error of a driver becomes a CoopError, and none shows a password.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Dialect, Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from governance_hooks.errors import BadInput, CoopError

__all__ = ["WAIT_S", "Database", "parse_url"]

WAIT_S = 10
"""How long a writer waits for another one, seconds."""
_STALLED_S = 300
"""After this long without a word from a writer, PostgreSQL takes the write lock from it, seconds."""
_LOCK = 0x636F6F70
"""Number of the advisory lock of a log's writers ("coop")."""
_ALLOWED = "postgresql://USER@HOST/DATABASE"


def parse_url(url: str | URL, *, of: str = "log") -> URL:
    """Return the address of a database; raise BadInput, which shows no password, if no log (or what `of` says) can be kept there."""
    try:
        made = make_url(url)
        backend = made.get_backend_name()
    except (ArgumentError, ValueError):  # whose texts quote the URL
        raise BadInput(f"the URL of the {of}'s database cannot be read", allowed=_ALLOWED, next="write special characters in it as %XX") from None
    if backend not in ("sqlite", "postgresql"):
        raise BadInput(f"this database cannot keep a {of}", value=backend, allowed="sqlite, postgresql")
    if any("password" in name for name in made.query):
        raise BadInput("a password in the URL's query would be shown", allowed="postgresql://USER:PASSWORD@HOST/DATABASE")
    return made.set(drivername="postgresql+psycopg") if backend == "postgresql" else made


def _engine(url: URL, read_only: bool) -> Engine:
    if url.get_backend_name() == "postgresql":
        options = {"application_name": "coop"} | ({} if "connect_timeout" in url.query else {"connect_timeout": WAIT_S})
        try:
            engine = create_engine(url, connect_args=options, use_native_hstore=False)
        except ModuleNotFoundError as error:
            raise BadInput("a log on PostgreSQL needs the package psycopg", next="pip install 'commonweights[postgres]'") from error
    else:
        if url.database and read_only:
            # Quoted: in a folder named a%41 SQLite would otherwise read the log of the folder aA.
            url = url.set(database="file:" + quote(url.database), query={"mode": "ro", "uri": "true"})
        engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: object) -> None:
        if engine.dialect.name == "postgresql":
            connection.autocommit = True  # ours are the only BEGINs
            return
        connection.isolation_level = None
        connection.text_factory = lambda data: data.decode(errors="replace")  # a damaged note is read, and then refused by its signature
        connection.execute(f"PRAGMA busy_timeout={WAIT_S * 1000}")
        if not read_only:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")

    return engine


class Database:
    """An address with a pool of connections, for use by many threads."""

    def __init__(self, url: str | URL, *, read_only: bool) -> None:
        self.url, self.read_only = parse_url(url), read_only
        self._engine = _engine(self.url, read_only)
        self._turn = threading.Lock()
        self._held: Any = None
        self._writer: int | None = None
        """The thread in whose turn `_held` is the cursor."""
        self._spoilt = False
        self._kept: Any = None
        """The connection of the last turn."""
        # Of a damaged file sqlite3 cannot even decode SQLite's error: it quotes what is damaged.
        self._driver: Any = (self.dialect.loaded_dbapi.Error, UnicodeDecodeError)

    @property
    def dialect(self) -> Dialect:
        """SQLAlchemy's word for which database it is."""
        return self._engine.dialect

    @property
    def shown(self) -> str:
        """The address without a password."""
        if self.dialect.name == "sqlite":
            return str(self.url.database)
        return self.url._replace(drivername="postgresql", password=None).render_as_string()

    def close(self) -> None:
        """Close every connection."""
        if self._kept:
            self._kept.close()
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Yield a driver's cursor in a snapshot of its own; in a thread that is `writing`, the cursor of that transaction.

        Raises:
            CoopError: the database cannot be reached or read.
        """
        if self._writer == threading.get_ident():
            yield self._held
            return
        connection, cursor = self._open(writes=False)
        try:
            yield cursor
            connection.commit()
        except BaseException as error:
            self._abandon(connection, error, writes=False)
            raise
        connection.close()

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """Yield a driver's cursor in a transaction that holds the write lock, and is durable when the outermost such block has ended.

        Raises:
            CoopError: the database cannot be reached or written, or another writer takes too long. Nothing of the block is kept.
        """
        if self._writer == threading.get_ident():
            try:
                yield self._held
            except BaseException:
                self._spoilt = True
                raise
            return
        if not self._turn.acquire(timeout=WAIT_S):
            raise CoopError(f"another thread has been writing to the log for {WAIT_S} s: nothing was appended", next="try again")
        try:
            connection, cursor = self._open(writes=True)
            committing = False
            try:
                self._held, self._writer, self._spoilt = cursor, threading.get_ident(), False
                yield cursor
                if self._spoilt:
                    raise CoopError("a part of this transaction failed: nothing of it is kept")
                committing = True
                connection.commit()
            except BaseException as error:
                self._abandon(connection, error, writes=True, committing=committing)
                raise
            self._kept = connection
        finally:
            self._held = self._writer = None
            self._turn.release()

    def _abandon(self, connection: Any, error: BaseException, *, writes: bool, committing: bool = False) -> None:
        """Undo a transaction that failed; raise CoopError if it was the database that failed it."""
        with suppress(*self._driver):
            connection.rollback()
        lost = self._discard(connection, error, writes)
        if not isinstance(error, self._driver):
            return
        if committing and lost:
            raise CoopError(
                f"the database was lost during a commit: {self._told(error)}",
                next="look with coop log whether the entry is there, before you run the command again",
            ) from error
        raise self._failed(error, writes) from error

    def _open(self, writes: bool) -> tuple[Any, Any]:
        """Return a connection, and its cursor in a new transaction; the writer's connection is kept for the next turn."""
        for may_be_stale in (True, False):  # a connection may have died with its server since it was last used
            try:
                connection = (writes and self._kept) or self._connect(writes)
            except (*self._driver, SQLAlchemyError) as error:
                raise CoopError(f"cannot open the log {self.shown}: {self._told(error)}", next=self._advice("coop audit")) from error
            if writes:
                self._kept = None
            try:
                cursor = connection.cursor()
                self._begin(cursor, writes)
                return connection, cursor
            except BaseException as error:
                lost = self._discard(connection, error, writes)
                if isinstance(error, self._driver) and not (lost and may_be_stale):
                    raise self._failed(error, writes) from error
                if not lost:
                    raise
        raise AssertionError("unreachable")

    def _connect(self, writes: bool) -> Any:
        connection = self._engine.raw_connection()
        if writes and self.dialect.name == "sqlite":
            connection.cursor().execute("PRAGMA busy_timeout=0")  # _begin_immediate waits
        return connection

    def _begin(self, cursor: Any, writes: bool) -> None:
        if not writes or self.read_only:
            cursor.execute("BEGIN" if self.dialect.name == "sqlite" else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        elif self.dialect.name == "sqlite":
            self._begin_immediate(cursor)
        else:
            # One round trip. SET LOCAL also holds behind a pooler that hands out connections by transaction.
            cursor.execute(
                f"BEGIN; SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = '{WAIT_S}s'; "
                f"SET LOCAL idle_in_transaction_session_timeout = '{_STALLED_S}s'; SELECT pg_advisory_xact_lock({_LOCK})"
            )

    def _begin_immediate(self, cursor: Any) -> None:
        """Take SQLite's write lock; asking often, since SQLite's own waiting, 100 ms at a time, can miss every gap of a busy writer."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                cursor.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.0005, 0.003))  # noqa: S311  # no secret

    def _discard(self, connection: Any, error: BaseException, writes: bool) -> bool:
        """Let go of a connection after an error; return whether its server is gone, which ends the pool's other ones too."""
        lost = isinstance(error, self._driver) and self.dialect.is_disconnect(error, connection.dbapi_connection, None)
        if lost:
            self._engine.dispose()
        if lost or writes:  # a writer's does not go back to the readers: it does not wait for locks
            connection.invalidate()
        connection.close()
        return lost

    def _failed(self, error: Exception, writes: bool) -> CoopError:
        busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY or getattr(error, "sqlstate", None) == "55P03"  # lock_not_available
        if writes and busy:
            return CoopError(
                f"another process has been writing to the log for {WAIT_S} s: nothing was appended", value=self.shown, next="run the command again"
            )
        if writes:
            return CoopError(f"cannot write the log: {self._told(error)}", next=self._advice("run the same command again") + "; nothing was appended")
        return CoopError(f"cannot read the log {self.shown}: {self._told(error)}", next=self._advice("coop audit"))

    def _advice(self, then: str) -> str:
        if self.dialect.name != "sqlite":
            return f"see that the server runs and lets you in (COOP_LOG_URL, ~/.pgpass), then {then}"
        folder = Path(str(self.url.database)).absolute().parent
        if folder.is_dir() and not os.access(folder, os.W_OK):  # SQLite keeps two files beside a log that is read, too
            return f"copy {folder} to where you may write, which SQLite needs even to read, or ask whose it is; then {then}"
        return f"free space or mend the disk, then {then}"

    def _told(self, error: Exception) -> str:
        """What the driver says, on one line and without the password."""
        undecoded = error.object.decode(errors="replace") if isinstance(error, UnicodeDecodeError) else None
        told = " ".join(str(undecoded or getattr(error, "orig", None) or error).split())
        return told.replace(str(self.url.password), "***") if self.url.password else told

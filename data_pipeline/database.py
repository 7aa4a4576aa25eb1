"""Where a contribution store is kept: a SQLite file or a PostgreSQL database, and the two kinds of transaction it needs.

A reader sees one snapshot. A writer is the only one (SQLite: BEGIN IMMEDIATE; PostgreSQL: an advisory lock of the database) and its
commit is durable (synchronous=FULL; synchronous_commit). No message shows a password.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from governance_hooks.database import WAIT_S, parse_url
from governance_hooks.errors import BadInput, CoopError

__all__ = ["StoreDatabase"]

_LOCK: Final = 0x73746F72
"""Number of the advisory lock of a store's writers ("stor"); a log may live in the same database."""
_STALLED_S: Final = 300
"""After this long without a word from a writer, PostgreSQL takes the write lock from it, seconds."""


def _url(location: str | Path | URL, of: str) -> URL:
    if isinstance(location, Path) or (isinstance(location, str) and "://" not in location):
        return URL.create("sqlite", database=str(location))
    return parse_url(location, of=of)


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        options = {"application_name": "coop"} | ({} if "connect_timeout" in url.query else {"connect_timeout": WAIT_S})
        try:
            engine = create_engine(url, connect_args=options, use_native_hstore=False, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise BadInput("a contribution store on PostgreSQL needs the package psycopg", next="pip install 'commonweights[postgres]'") from error
        event.listen(engine, "begin", _begin_postgresql)
        return engine
    if url.database:
        folder = Path(url.database).parent
        if not folder.is_dir():
            raise BadInput(f"the folder {folder} of the contribution store does not exist", next="coop init")
        with suppress(OSError):  # texts and salts: nobody else's to read; an error here comes back, in full words, when SQLite opens the file
            os.close(os.open(url.database, os.O_CREAT | os.O_RDWR, 0o600))
    engine = create_engine(url)
    event.listen(engine, "connect", _settings)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _settings(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves; the driver would start a transaction too late to lock
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON", f"busy_timeout={int(WAIT_S * 1000)}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _writes(connection) else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if not _writes(connection):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return
    # SET LOCAL also holds behind a pooler that hands out connections by transaction.
    connection.exec_driver_sql(
        f"SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = {int(WAIT_S * 1000)}; "
        f"SET LOCAL idle_in_transaction_session_timeout = '{_STALLED_S}s'; SELECT pg_advisory_xact_lock({_LOCK})"
    )


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("coop_write", False))


class StoreDatabase:
    """An address with a pool of connections.

    Args:
        location: path of a SQLite file, whose folder must exist, or the URL of a SQLite or PostgreSQL database.
        of: what is kept there, for messages.

    Raises:
        BadInput: no such folder or driver, or a database that can keep no store.
    """

    def __init__(self, location: str | Path | URL, *, of: str = "contribution store") -> None:
        url = _url(location, of)
        self._of = of
        self.engine = _engine(url)
        self.sqlite = self.engine.dialect.name == "sqlite"
        self._password = url.password
        self.name = str(url.database) if self.sqlite else url._replace(drivername="postgresql", password=None).render_as_string()
        """The address without a password."""

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[Connection]:
        """Yield a connection in a snapshot, or in a transaction that holds the write lock and is durable when the block has ended.

        Raises:
            CoopError: the database cannot be reached, read or written; nothing of the block is kept.
        """
        try:
            with self.engine.connect() as opened:
                connection = opened.execution_options(coop_write=write)
                with connection.begin():
                    yield connection
        except (SQLAlchemyError, self._driver_error) as error:
            raise self._failed(error, write) from error

    def require_durable(self, connection: Connection) -> None:
        """Raise BadInput for a server that acknowledges what it has not written to disk."""
        if not self.sqlite and connection.exec_driver_sql("SHOW fsync").scalar() != "on":
            raise BadInput(
                "this server acknowledges what it has not written to disk", value="fsync = off", allowed="fsync = on", next="change it in postgresql.conf"
            )

    def forget(self, *tables: str) -> None:
        """Overwrite what deleted values left in the database's files: SQLite's write-ahead log, PostgreSQL's dead rows.

        Raises:
            CoopError: another process reads the store; the values are gone for readers, but not yet from the disk.
        """
        try:
            connection = self.engine.raw_connection()
            driver: Any = connection.driver_connection
            connection.detach()  # not back to the pool: its settings are changed
            try:
                cursor = driver.cursor()
                if self.sqlite:
                    busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                else:
                    busy = False
                    driver.autocommit = True
                    cursor.execute(f"SET lock_timeout = {int(WAIT_S * 1000)}")
                    for table in tables:
                        cursor.execute(f"VACUUM (FULL) {table}")
            finally:
                connection.close()
        except (SQLAlchemyError, self._driver_error) as error:
            raise CoopError(f"the values are erased, but their old pages in {self.name} are not: {self._told(error)}", next="erase again") from error
        if busy:
            raise CoopError(
                f"the values are erased, but another process reads {self.name}, so its write-ahead log still holds old pages", next="close it and erase again"
            )

    @property
    def _driver_error(self) -> type[Exception]:
        error: type[Exception] = self.engine.dialect.loaded_dbapi.Error
        return error

    def _failed(self, error: Exception, write: bool) -> CoopError:
        told = self._told(error)
        if write:
            advice = "free space, or close what holds the file" if self.sqlite else "see that the server runs and lets you in (COOP_STORE_URL, ~/.pgpass)"
            return CoopError(f"cannot write the {self._of} {self.name}: {told}", next=f"{advice}, then run the same command again; nothing was half-written")
        return CoopError(f"cannot read the {self._of} {self.name}: {told}")

    def _told(self, error: Exception) -> str:
        """What the driver says, on one line and without the password."""
        told = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
        return told.replace(self._password, "***") if self._password else told

"""The private database: one place for accounts, sessions, drafts and the outbox, apart from the log and from members' texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, inspect
from sqlalchemy.engine import URL

from data_pipeline.database import StoreDatabase
from governance_hooks.statement import now
from portal.store.accounts import Accounts
from portal.store.basket import Basket
from portal.store.drafted import Drafts
from portal.store.outbox import Outbox
from portal.store.remarks import Remarks
from portal.store.schema import metadata
from portal.store.sessions import Sessions

__all__ = ["PRIVATE_URL", "PrivateStore"]

PRIVATE_URL = "COOP_PORTAL_URL"
"""The environment variable that says where the portal's private tables are, password and all."""


class PrivateStore:
    """The portal's tables.

    Args:
        location: path of the SQLite file, or the URL of a SQLite or PostgreSQL database.
        clock: this machine's time, RFC 3339 UTC.
    """

    def __init__(self, location: str | Path | URL, clock: Callable[[], str] = now) -> None:
        self._database = StoreDatabase(location, of="portal's private store")
        with self._database.transaction(write=True) as connection:
            self._database.require_durable(connection)
            metadata.create_all(connection)
            _grow(connection)
        self.accounts = Accounts(self._database, clock)
        self.sessions = Sessions(self._database, clock)
        self.drafts = Drafts(self._database, clock)
        self.basket = Basket(self._database, clock)
        self.remarks = Remarks(self._database, clock)
        self.outbox = Outbox(self._database, clock)

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[Connection]:
        """Yield a connection in a transaction."""
        with self._database.transaction(write=write) as connection:
            yield connection

    def forget(self) -> None:
        """Overwrite what erased rows left in the database's files."""
        self._database.forget(*metadata.tables)

    def close(self) -> None:
        """Close all connections."""
        self._database.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _grow(connection: Connection) -> None:
    """Add the columns that tables of an earlier version lack; each may be null."""
    found = inspect(connection)
    for table in metadata.sorted_tables:
        there = {one["name"] for one in found.get_columns(table.name)}
        for column in table.columns:
            if column.name not in there:
                kind = column.type.compile(connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}")  # names of ours

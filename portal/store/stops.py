"""Links that end notices: one for each account, in every letter the same, so that an old letter's link works too."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from sqlalchemy import insert, select, update

from data_pipeline.database import StoreDatabase
from portal.store.schema import accounts, stops

__all__ = ["Stops"]


class Stops:
    """The links of a portal. Whoever has one can end an account's notices, and nothing else."""

    def __init__(self, database: StoreDatabase, clock: Callable[[], str]) -> None:
        self._database, self._clock = database, clock

    def token(self, account: str) -> str:
        """Return the secret part of an account's link, made at the first time."""
        with self._database.transaction(write=True) as connection:
            there = connection.execute(select(stops.c.token).where(stops.c.account == account)).scalar_one_or_none()
            if there is None:
                there = secrets.token_urlsafe(32)
                connection.execute(insert(stops).values(account=account, token=there))
            return str(there)

    def stop(self, token: str) -> bool:
        """End the notices of a link's account; return False if there is no such link."""
        with self._database.transaction(write=True) as connection:
            account = connection.execute(select(stops.c.account).where(stops.c.token == token)).scalar_one_or_none()
            if account is None:
                return False
            connection.execute(update(accounts).where(accounts.c.account == account).values(notices=False))
            return True

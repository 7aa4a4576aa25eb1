"""Signing in by a link in a mail, and the session it begins. Nobody learns whether an address has an account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, insert, select, update

from data_pipeline.database import StoreDatabase
from governance_hooks.errors import Refused
from governance_hooks.sentence import Sentence
from governance_hooks.statement import shift
from portal.store.accounts import COLUMNS, Account, make_account
from portal.store.schema import accounts, links, sessions
from portal.store.tokens import hashed, new_token

__all__ = ["COOKIE_S", "LINK_S", "SESSION_S", "Link", "Session", "Sessions"]

LINK_S = 900
"""How long a link in a mail signs in, seconds."""
SESSION_S = 12 * 3600
"""How long a session lasts, seconds."""
COOKIE_S = 7 * 86_400
"""How long a browser keeps its name, seconds: longer than it opens anything, so that who comes back reads that they were signed out."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a link in a mail stands for."""

    mail: str
    next: str
    """Path to go to."""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in."""

    account: Account
    standing: str | None
    """What the account was when the session got its name; see `portal.visit`."""


_OPEN: Final = (
    select(sessions.c.standing, *COLUMNS)
    .join(accounts, accounts.c.account == sessions.c.account)
    .where(sessions.c.hash == bindparam("hash"), sessions.c.expires > bindparam("now"))
)


class Sessions:
    """Links and sessions of a portal."""

    def __init__(self, database: StoreDatabase, clock: Callable[[], str]) -> None:
        self._database, self._clock = database, clock

    def make_link(self, mail: str, language: str, then: str) -> str:
        """Return the token of a new link for whoever reads this mail."""
        token, at = new_token(), self._clock()
        with self._database.transaction(write=True) as connection:
            connection.execute(delete(links).where(links.c.expires <= at))
            connection.execute(insert(links).values(hash=hashed(token), mail=mail, language=language, next=then, expires=shift(at, LINK_S)))
        return token

    def link(self, token: str) -> Link | None:
        """Return what a link stands for, without using it: programs that read mail open every link."""
        with self._database.transaction() as connection:
            row = connection.execute(select(links).where(links.c.hash == hashed(token), links.c.expires > self._clock())).first()
        return None if row is None else Link(row.mail, row.next)

    def sign_in(self, token: str, old: str | None) -> tuple[str, Account, str]:
        """Use up a link and return a new session's token, its account, and where to go; the browser's old session ends.

        Raises:
            Refused: the link is unknown, used or too old.
        """
        at, session = self._clock(), new_token()
        with self._database.transaction(write=True) as connection:
            row = connection.execute(select(links).where(links.c.hash == hashed(token), links.c.expires > at)).first()
            if row is None:
                raise Refused(
                    "this link does not sign in any more", allowed=Sentence("once, within {count} minutes", count=LINK_S // 60), next="ask for a new one"
                )
            connection.execute(delete(links).where(links.c.mail == row.mail))
            connection.execute(delete(sessions).where(sessions.c.expires <= at))
            if old is not None:
                connection.execute(delete(sessions).where(sessions.c.hash == hashed(old)))
            account = make_account(connection, row.mail, row.language, at)
            connection.execute(insert(sessions).values(hash=hashed(session), account=account.account, expires=shift(at, SESSION_S)))
        return session, account, row.next

    def expire(self) -> None:
        """Forget links and sessions whose time is over, and with them the addresses of people who never came."""
        at = self._clock()
        with self._database.transaction(write=True) as connection:
            connection.execute(delete(links).where(links.c.expires <= at))
            connection.execute(delete(sessions).where(sessions.c.expires <= at))

    def open(self, token: str) -> Session | None:
        """Return whose session this is, or None."""
        with self._database.transaction() as connection:
            row = connection.execute(_OPEN, {"hash": hashed(token), "now": self._clock()}).first()
        return None if row is None else Session(Account(*row[1:]), row.standing)

    def stand(self, token: str, standing: str) -> None:
        """Note what the account is at the first visit of a session."""
        with self._database.transaction(write=True) as connection:
            connection.execute(update(sessions).where(sessions.c.hash == hashed(token), sessions.c.standing.is_(None)).values(standing=standing))

    def renew(self, token: str, standing: str) -> str | None:
        """Give a session another name, under which alone it goes on, not longer than before; None if somebody else did so just now."""
        new = new_token()
        with self._database.transaction(write=True) as connection:
            done = connection.execute(update(sessions).where(sessions.c.hash == hashed(token)).values(hash=hashed(new), standing=standing))
        return new if done.rowcount == 1 else None

    def end(self, token: str, *, everywhere: bool = False) -> None:
        """End a session, or all of its account."""
        with self._database.transaction(write=True) as connection:
            mine = select(sessions.c.account).where(sessions.c.hash == hashed(token)).scalar_subquery()
            connection.execute(delete(sessions).where(sessions.c.account == mine if everywhere else sessions.c.hash == hashed(token)))

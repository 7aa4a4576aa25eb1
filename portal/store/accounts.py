"""Accounts: a mail address, and which pseudonym of the log is its. An account signs nothing; it reads and drafts."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from data_pipeline.database import StoreDatabase
from governance_hooks.errors import BadInput
from portal.store.schema import accounts, basket, drafted, links, outbox, received, remarks, scores, sessions

__all__ = ["COLUMNS", "Account", "Accounts", "mail_address", "masked"]

# The dot-atom of RFC 5322, in ASCII, and a host's name: every server takes it and every letter can be written to it. What is stricter than RFC 5321
# refuses nobody we met.
_ATOM, _LABEL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+", r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_MAIL = re.compile(rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:(?:{_LABEL}\.)+{_LABEL}|localhost)")
_LONGEST = 189


def mail_address(text: str) -> str:
    """Return a mail address as it is kept, a domain of other letters as xn--; raise BadInput if it is none."""
    given = text.strip()
    name, _, domain = given.rpartition("@")
    found = f"{name}@{_ascii(domain)}"
    if not _MAIL.fullmatch(found):
        raise BadInput("this is no mail address", value=given[:80], allowed="name@example.org")
    return found


def _ascii(domain: str) -> str:
    """Return a domain in the letters mail servers know, or nothing for one that would become another one by that."""
    if len(domain) > _LONGEST:
        return ""
    if domain.isascii():
        return domain.lower()
    try:
        made = domain.encode("idna")
        return made.decode().lower() if made.decode("idna").lower() == domain.lower() else ""
    except UnicodeError:
        return ""


def masked(mail: str) -> str:
    """Return a mail address as its owner recognises it and nobody else reads it."""
    name, _, domain = mail.partition("@")
    return f"{name[:2]}…@{domain}"


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who can be signed in."""

    account: str
    mail: str
    language: str
    member: str | None
    asks_as: str | None
    notices: bool


COLUMNS: Final = tuple(accounts.c[name] for name in Account.__dataclass_fields__)
_BY: Final = {name: select(*COLUMNS).where(accounts.c[name] == bindparam("value")) for name in ("account", "mail", "member", "asks_as")}
"""Statements are put together once: that takes longer than what a database does for them."""


def as_account(connection: Connection, **which: str) -> Account | None:
    """Return the account that has this value, or None."""
    [(name, value)] = which.items()
    row = connection.execute(_BY[name], {"value": value}).first()
    return None if row is None else Account(*row)


class Accounts:
    """The accounts of a portal."""

    def __init__(self, database: StoreDatabase, clock: Callable[[], str]) -> None:
        self._database, self._clock = database, clock

    def find(self, **which: str) -> Account | None:
        """Return the account with this name, mail, member or asks_as, or None."""
        with self._database.transaction() as connection:
            return as_account(connection, **which)

    def members(self) -> list[Account]:
        """Return the accounts of members."""
        with self._database.transaction() as connection:
            return [Account(*row) for row in connection.execute(select(*COLUMNS).where(accounts.c.member.is_not(None)))]

    def ask(self, account: str, member: str) -> None:
        """Note the pseudonym an account asks to be admitted as."""
        with self._database.transaction(write=True) as connection:
            connection.execute(update(accounts).where(accounts.c.account == account).values(asks_as=member))

    def bind(self, account: str, member: str) -> None:
        """Make an account a member's; raise BadInput if it is another's, or the member has one.

        The caller has seen a signature of the member's key over this account, or the log's admission of what it asked for.
        """
        try:
            with self._database.transaction(write=True) as connection:
                found = as_account(connection, account=account)
                if found is None or found.member not in (None, member):
                    raise BadInput("this account belongs to another member", value=member, next="sign in with another mail address")
                connection.execute(update(accounts).where(accounts.c.account == account).values(member=member, asks_as=None))
        except IntegrityError as error:
            raise BadInput("this member has an account already", value=member, next="sign in with its mail address") from error

    def release(self, account: str) -> None:
        """Part an account from the pseudonym of a member who left, so that somebody can join again as another."""
        with self._database.transaction(write=True) as connection:
            connection.execute(update(accounts).where(accounts.c.account == account).values(member=None, asks_as=None))

    def settle(self, account: str, *, language: str | None = None, notices: bool | None = None) -> None:
        """Keep somebody's settings."""
        values: dict[str, object] = {} if language is None else {"language": language}
        values |= {} if notices is None else {"notices": notices}
        with self._database.transaction(write=True) as connection:
            connection.execute(update(accounts).where(accounts.c.account == account).values(**values))

    def erase(self, account: str) -> None:
        """Erase an account with its address, sessions, drafts, remarks and mail; the log keeps its pseudonym only."""
        with self._database.transaction(write=True) as connection:
            found = as_account(connection, account=account)
            if found is None:
                return
            for one in (found.member, found.asks_as):
                connection.execute(delete(drafted).where(drafted.c.author == one))  # and the salts by which the log names what was declined
                connection.execute(delete(remarks).where(remarks.c.member == one))
            connection.execute(delete(outbox).where(outbox.c.mail == found.mail))
            connection.execute(delete(links).where(links.c.mail == found.mail))
            for table in (sessions, basket, received, scores, accounts):
                connection.execute(delete(table).where(table.c.account == account))
        self._database.forget(accounts.name, basket.name, received.name, scores.name, outbox.name, links.name, remarks.name, drafted.name)


def make_account(connection: Connection, mail: str, language: str, at: str) -> Account:
    """Return the account of a proven mail address, made at the first time."""
    found = as_account(connection, mail=mail)
    if found is not None:
        return found
    made = Account("a-" + secrets.token_hex(8), mail, language, None, None, True)
    connection.execute(insert(accounts).values(account=made.account, mail=mail, language=language, member=None, asks_as=None, notices=True, created=at))
    return made

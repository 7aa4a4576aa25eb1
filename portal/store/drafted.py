"""Statements that wait for signatures: the canonical bytes, and the signatures that came so far. Without them they are nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, delete, insert, select, update

from data_pipeline.database import StoreDatabase
from governance_hooks.canonical import loads, sha256
from governance_hooks.errors import Refused
from governance_hooks.requests import ABOUT, new_salt
from governance_hooks.sentence import Sentence
from governance_hooks.statement import shift
from portal.store.schema import drafted, enrolments
from portal.store.tokens import hashed, new_token

__all__ = ["ENROL_S", "Drafted", "Drafts", "Enrolment"]

KEPT_S = 90 * 86_400
"""A statement nobody signed goes after this time, seconds."""
OPEN = 100
"""Statements of one kind that may wait in one name at a time; the oldest go. By kind, for anybody may ask to be shown to be a member."""
ASKED = 3
"""Requests to others, to join or for a new key, that may wait in one name: who begins again and again is one person still."""
ENROL_S = 600
"""How long the making of a passkey may take, seconds."""


@dataclass(frozen=True, slots=True)
class Drafted:
    """A statement's body and what is known of its way into the log."""

    id: str
    """Unguessable: who has it may see and sign it."""
    kind: str
    author: str
    body: bytes = field(repr=False)
    signatures: list[str] = field(repr=False)
    after: dict[str, Any]
    created: str
    statement: str | None
    state: str

    @property
    def value(self) -> dict[str, Any]:
        """The body as a document."""
        found: dict[str, Any] = loads(self.body)
        return found

    @property
    def digest(self) -> str:
        """The statement's digest: of its body, whoever signs it."""
        return sha256(self.body)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A passkey that is being made."""

    challenge: bytes
    member: str
    purpose: str
    detail: str
    session: str | None
    """The hash of the session that asked for it."""


_FIND: Final = select(drafted).where(drafted.c.id == bindparam("id"))


@cache
def _open(*names: str) -> Select[Any]:
    """Return the statement that looks for what waits, by the columns of these names; there are four."""
    return select(drafted).where(drafted.c.state == "open", *(drafted.c[name] == bindparam(name) for name in names)).order_by(drafted.c.created)


class Drafts:
    """Drafted statements of a portal."""

    def __init__(self, database: StoreDatabase, clock: Callable[[], str]) -> None:
        self._database, self._clock = database, clock

    def add(self, kind: str, author: str, body: bytes, after: dict[str, Any]) -> Drafted:
        """Keep a body to be signed."""
        made = Drafted(secrets.token_hex(16), kind, author, body, [], after, self._clock(), None, "open")
        most = ASKED if kind in ABOUT else OPEN
        with self._database.transaction(write=True) as connection:
            self._expire(connection)
            mine = (drafted.c.author == author) & (drafted.c.kind == kind) & (drafted.c.state == "open")
            newest = select(drafted.c.id).where(mine).order_by(drafted.c.created.desc(), drafted.c.id).limit(most - 1).scalar_subquery()
            connection.execute(delete(drafted).where(mine, drafted.c.id.not_in(newest)))
            connection.execute(insert(drafted).values(**{name: getattr(made, name) for name in Drafted.__dataclass_fields__}))
        return made

    def expire(self) -> None:
        """Remove what waited for its term."""
        with self._database.transaction(write=True) as connection:
            self._expire(connection)

    def _expire(self, connection: Connection) -> None:
        connection.execute(delete(drafted).where(drafted.c.created <= shift(self._clock(), -KEPT_S)))

    def reasons(self, *, author: str | None = None) -> set[str]:
        """Return the digests of the reasons that drafted statements name; of one author's, if one is named."""
        query = select(drafted.c.body) if author is None else select(drafted.c.body).where(drafted.c.author == author)
        with self._database.transaction() as connection:
            payloads = [loads(body)["payload"] for body in connection.execute(query).scalars()]
        return {one[name] for one in payloads for name in ("reason", "reasons") if one.get(name)}

    def find(self, identifier: str) -> Drafted | None:
        """Return a drafted statement, or None."""
        with self._database.transaction() as connection:
            row = connection.execute(_FIND, {"id": identifier}).first()
        return None if row is None else Drafted(**row._mapping)

    def open(self, *, kind: str | None = None, author: str | None = None) -> list[Drafted]:
        """Return what waits for signatures, oldest first."""
        which = {name: value for name, value in (("kind", kind), ("author", author)) if value is not None}
        with self._database.transaction() as connection:
            return [Drafted(**row._mapping) for row in connection.execute(_open(*which), which)]

    def asked_by(self, session: str, author: str) -> list[Drafted]:
        """Return what a session drafted in somebody's name that may change what their account is, newest first."""
        query = select(drafted).where(drafted.c.author == author).order_by(drafted.c.created.desc()).limit(2 * OPEN)
        with self._database.transaction() as connection:
            found = [Drafted(**row._mapping) for row in connection.execute(query)]
        return [one for one in found if one.after.get("session") == session]

    def salt(self, identifier: str) -> str:
        """Return the secret under which the log may name a statement that was not signed, made at the first time; it goes when the statement goes."""
        with self._database.transaction(write=True) as connection:
            after = dict(connection.execute(select(drafted.c.after).where(drafted.c.id == identifier)).scalar_one())
            if "salt" not in after:
                after["salt"] = new_salt()
                connection.execute(update(drafted).where(drafted.c.id == identifier).values(after=after))
        return str(after["salt"])

    def sign(self, identifier: str, signature: str) -> list[str]:
        """Add a verified signature; return all that are there now, also those that came meanwhile."""
        with self._database.transaction(write=True) as connection:
            kept = list(connection.execute(select(drafted.c.signatures).where(drafted.c.id == identifier)).scalar_one())
            if signature not in kept:
                kept.append(signature)
                connection.execute(update(drafted).where(drafted.c.id == identifier).values(signatures=kept))
        return kept

    def settle(self, identifier: str, statement: str) -> None:
        """Note that a statement is in the log."""
        with self._database.transaction(write=True) as connection:
            connection.execute(update(drafted).where(drafted.c.id == identifier).values(state="logged", statement=statement))

    def begin_enrolment(self, member: str, purpose: str, detail: str = "", session: str | None = None) -> str:
        """Return the token under which a passkey may be made for a member."""
        token, at = new_token(), self._clock()
        with self._database.transaction(write=True) as connection:
            connection.execute(delete(enrolments).where(enrolments.c.expires <= at))
            connection.execute(
                insert(enrolments).values(
                    id=hashed(token),
                    challenge=secrets.token_bytes(32),
                    member=member,
                    purpose=purpose,
                    detail=detail,
                    expires=shift(at, ENROL_S),
                    session=session,
                )
            )
        return token

    def enrolment(self, token: str, *, use: bool = False) -> Enrolment:
        """Return what a token stands for, and with `use` end it; raise Refused if it is unknown, used or too old."""
        with self._database.transaction(write=use) as connection:
            row = connection.execute(select(enrolments).where(enrolments.c.id == hashed(token), enrolments.c.expires > self._clock())).first()
            if row is None:
                raise Refused("this page is too old to make a passkey", allowed=Sentence("within {count} minutes", count=ENROL_S // 60), next="begin again")
            if use:
                connection.execute(delete(enrolments).where(enrolments.c.id == hashed(token)))
        return Enrolment(row.challenge, row.member, row.purpose, row.detail, row.session)

"""The outbox: mail that is to go out, kept until a server took it. The sender retries; an event is mailed to an address once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, case, delete, func, insert, or_, select, update

from data_pipeline.database import StoreDatabase
from governance_hooks.statement import shift
from portal.store.schema import outbox

__all__ = ["GIVE_UP", "Letter", "Outbox", "Sums", "Trouble"]

GIVE_UP = 8
"""Tries after which a letter stays where it is: with doubling pauses that is about four hours."""


_OUT = outbox.c.sent.is_not(None)
_SUMS = [
    func.coalesce(func.sum(case((where, 1), else_=0)), 0)
    for where in (
        ~_OUT & (outbox.c.tries < GIVE_UP),
        _OUT & outbox.c.error.is_(None),
        _OUT & outbox.c.error.is_not(None),
        ~_OUT & (outbox.c.tries >= GIVE_UP),
    )
]
"""The fields of `Sums`, in their order."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail."""

    number: int
    event: str
    mail: str
    language: str
    template: str
    values: dict[str, str]
    tries: int


@dataclass(frozen=True, slots=True)
class Sums:
    """How many letters are where."""

    waiting: int = 0
    sent: int = 0
    dropped: int = 0
    """Not needed any more."""
    failed: int = 0
    """Given up: refused for good, or put off too often."""

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.waiting or self.sent or self.dropped or self.failed)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Letters of one kind that did not go out for one reason."""

    template: str
    error: str
    tries: int
    count: int
    due: str
    """When the first of them is tried next."""

    @property
    def given_up(self) -> bool:
        """Whether they are not tried again."""
        return self.tries >= GIVE_UP


_THERE: Final = select(outbox.c.number).where(outbox.c.event == bindparam("event"), outbox.c.mail == bindparam("mail"))
_TRIED: Final = (
    select(outbox.c.created, outbox.c.sent)
    .where(outbox.c.mail == bindparam("mail"), or_(_OUT & outbox.c.error.is_(None), outbox.c.tries >= GIVE_UP))
    .order_by(outbox.c.number.desc())
    .limit(20)
)


class Outbox:
    """Letters of a portal."""

    def __init__(self, database: StoreDatabase, clock: Callable[[], str]) -> None:
        self._database, self._clock = database, clock

    def put(self, event: str, mail: str, language: str, template: str, values: Mapping[str, str]) -> bool:
        """Keep a letter to be sent; return False if this event was mailed to the address already."""
        at = self._clock()
        with self._database.transaction(write=True) as connection:
            there = connection.execute(_THERE, {"event": event, "mail": mail}).first()
            if there is not None:
                return False
            connection.execute(
                insert(outbox).values(
                    event=event, mail=mail, language=language, template=template, values=dict(values), created=at, tries=0, due=at, sent=None, error=None
                )
            )
        return True

    def due(self, limit: int = 50) -> list[Letter]:
        """Return letters that are to be sent now, oldest first."""
        query = (
            select(*(outbox.c[name] for name in Letter.__dataclass_fields__))
            .where(outbox.c.sent.is_(None), outbox.c.due <= self._clock(), outbox.c.tries < GIVE_UP)
            .order_by(outbox.c.number)
            .limit(limit)
        )
        with self._database.transaction() as connection:
            return [Letter(*row) for row in connection.execute(query)]

    def sent(self, number: int) -> None:
        """Note that a server took a letter; what it said is forgotten."""
        with self._database.transaction(write=True) as connection:
            connection.execute(update(outbox).where(outbox.c.number == number).values(sent=self._clock(), values={}, error=None))

    def dropped(self, number: int) -> None:
        """Note that a letter is not needed any more; the same is not put in again."""
        with self._database.transaction(write=True) as connection:
            connection.execute(update(outbox).where(outbox.c.number == number).values(sent=self._clock(), values={}, error="not needed any more"))

    def failed(self, number: int, why: str, *, for_good: bool = False) -> None:
        """Note why a letter did not go out, and try again later, each time after twice the pause; or never, where that would not help."""
        with self._database.transaction(write=True) as connection:
            tries = connection.execute(select(outbox.c.tries).where(outbox.c.number == number)).scalar_one() + 1
            tries = GIVE_UP if for_good else tries
            values = {"tries": tries, "due": shift(self._clock(), 60 * 2**tries), "error": why[:200]}
            connection.execute(update(outbox).where(outbox.c.number == number).values(**values))

    def refused_since(self, mail: str) -> str | None:
        """Return since when no letter reaches an address, because servers refuse it for good; None if the newest one was taken, or none is told of yet."""
        since: str | None = None
        with self._database.transaction() as connection:
            for created, sent in connection.execute(_TRIED, {"mail": mail}):
                if sent is not None:
                    break
                since = created
        return since

    def sums(self) -> Sums:
        """Count all letters that are kept."""
        with self._database.transaction() as connection:
            return Sums(*connection.execute(select(*_SUMS)).one())

    def by_event(self, *templates: str) -> dict[str, Sums]:
        """Count the letters of these templates by what they are about."""
        query = select(outbox.c.event, *_SUMS).where(outbox.c.template.in_(templates)).group_by(outbox.c.event)
        with self._database.transaction() as connection:
            return {row[0]: Sums(*row[1:]) for row in connection.execute(query)}

    def troubles(self, limit: int = 50) -> list[Trouble]:
        """Return what did not go out, by kind and reason, those that most letters met first."""
        count = func.count()
        query = (
            select(outbox.c.template, outbox.c.error, outbox.c.tries, count, func.min(outbox.c.due))
            .where(outbox.c.sent.is_(None), outbox.c.error.is_not(None))
            .group_by(outbox.c.template, outbox.c.error, outbox.c.tries)
            .order_by(count.desc(), outbox.c.template, outbox.c.error, outbox.c.tries)
            .limit(limit)
        )
        with self._database.transaction() as connection:
            return [Trouble(*row) for row in connection.execute(query)]

    def hurry(self) -> int:
        """Have everything that waits be due now, and once more what servers put off until it was given up; return how many letters that is."""
        at, waits = self._clock(), outbox.c.sent.is_(None)
        with self._database.transaction(write=True) as connection:
            again = update(outbox).where(waits, outbox.c.tries >= GIVE_UP, outbox.c.error.like("4%")).values(tries=GIVE_UP - 1)
            connection.execute(again)
            return connection.execute(update(outbox).where(waits, outbox.c.tries < GIVE_UP).values(due=at)).rowcount

    def forget_old(self, before: str) -> None:
        """Forget letters that went out, or will never, before an instant."""
        with self._database.transaction(write=True) as connection:
            connection.execute(delete(outbox).where(outbox.c.created < before, or_(outbox.c.sent.is_not(None), outbox.c.tries >= GIVE_UP)))

"""The basket: texts a member wrote and has not given yet. They are private, and go when they are given or thrown away."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select

from data_pipeline.database import StoreDatabase
from data_pipeline.record import Draft
from data_pipeline.reviews import RatingDraft
from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.statement import shift
from portal.store.schema import basket, received, scores

__all__ = ["LIMIT", "Basket", "Kept"]

LIMIT = 200
"""Texts in one basket, at most: they are signed for in one act."""
KEPT_S = 180 * 86_400
"""So long it is known that a text came, seconds: one whose answer was lost may wait on a phone for months."""

_ID = re.compile(r"[0-9a-f-]{16,40}")


@dataclass(frozen=True, slots=True)
class Kept:
    """A text that waits."""

    id: str
    draft: Draft = field(repr=False)


def _mark(identifier: str, draft: Draft) -> str:
    """Return what tells a text that is sent again from another one."""
    return sha256(dumps([identifier, draft.inputs, draft.targets, draft.tag, draft.licence, *draft.parents]))


_TEXTS: Final = select(basket).where(basket.c.account == bindparam("account")).order_by(basket.c.created, basket.c.id)
_RATINGS: Final = select(scores).where(scores.c.account == bindparam("account")).order_by(scores.c.created, scores.c.record)
_COUNTS: Final = select(*(select(func.count()).where(table.c.account == bindparam("account")).scalar_subquery() for table in (basket, scores)))


class Basket:
    """Texts that wait, by account."""

    def __init__(self, database: StoreDatabase, clock: Callable[[], str]) -> None:
        self._database, self._clock = database, clock

    def put(self, account: str, identifier: str, draft: Draft) -> bool:
        """Keep a sound draft; return False if it came under this id before, whether or not it is in the basket still.

        An id under which another text came is that of a page somebody went back to: the new text gets one of its own.

        Raises:
            BadInput: the basket is full, or the id is none.
        """
        if not _ID.fullmatch(identifier):
            raise BadInput("this is no number of a draft", value=identifier[:60], allowed="hexadecimal, as the page made it")
        mark, at = _mark(identifier, draft), self._clock()
        with self._database.transaction(write=True) as connection:
            connection.execute(delete(received).where(received.c.created <= shift(at, -KEPT_S)))
            if connection.execute(select(received.c.mark).where(received.c.account == account, received.c.mark == mark)).first() is not None:
                return False
            if connection.execute(select(basket.c.id).where(basket.c.id == identifier)).first() is not None:
                identifier = secrets.token_hex(16)
            if (connection.execute(select(func.count()).where(basket.c.account == account)).scalar() or 0) >= LIMIT:
                raise BadInput("the basket is full", value=LIMIT, next="give what is in it, then go on")
            connection.execute(
                insert(basket).values(
                    id=identifier,
                    account=account,
                    inputs=draft.inputs,
                    targets=draft.targets,
                    language=draft.language,
                    tag=draft.tag,
                    licence=draft.licence,
                    parent=draft.parents[0] if draft.parents else None,
                    created=at,
                )
            )
            connection.execute(insert(received).values(account=account, mark=mark, created=at))
        return True

    def waiting(self, account: str) -> tuple[int, int]:
        """Return how many texts and how many ratings of an account wait."""
        with self._database.transaction() as connection:
            texts, ratings = connection.execute(_COUNTS, {"account": account}).one()
        return texts, ratings

    def all(self, account: str) -> list[Kept]:
        """Return the texts of an account, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(_TEXTS, {"account": account}).all()
        return [
            Kept(
                row.id,
                Draft(
                    row.inputs,
                    row.targets,
                    row.language,
                    annotation_type="re-annotations" if row.parent else "original-annotations",
                    parents=(row.parent,) if row.parent else (),
                    licence=row.licence,
                    tag=row.tag,
                ),
            )
            for row in rows
        ]

    def remove(self, account: str, *identifiers: str) -> None:
        """Throw texts of an account away."""
        with self._database.transaction(write=True) as connection:
            connection.execute(delete(basket).where(basket.c.account == account, basket.c.id.in_(identifiers)))

    # Ratings that wait

    def rate(self, account: str, draft: RatingDraft) -> None:
        """Keep a rating in the place of an earlier one of the same record."""
        mine = (scores.c.account == account) & (scores.c.record == draft.record)
        with self._database.transaction(write=True) as connection:
            connection.execute(delete(scores).where(mine))
            if (connection.execute(select(func.count()).where(scores.c.account == account)).scalar() or 0) >= LIMIT:
                raise BadInput("many ratings wait for your signature", value=LIMIT, next="sign them, then go on")
            values = {"account": account, "record": draft.record, "score": draft.score, "flags": " ".join(draft.flags), "created": self._clock()}
            connection.execute(insert(scores).values(**values))

    def ratings(self, account: str) -> list[RatingDraft]:
        """Return the ratings of an account that wait, oldest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(_RATINGS, {"account": account}).all()
        return [RatingDraft(row.record, row.score, tuple(row.flags.split())) for row in rows]

    def unrate(self, account: str, *records: str) -> None:
        """Throw ratings of an account away."""
        with self._database.transaction(write=True) as connection:
            connection.execute(delete(scores).where(scores.c.account == account, scores.c.record.in_(records)))

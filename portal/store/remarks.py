"""The discussion of a proposal: what members say to each other before they vote. Not in the log, and erasable."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select

from data_pipeline.database import StoreDatabase
from data_pipeline.text import text_problems
from governance_hooks.errors import BadInput
from governance_hooks.sentence import Sentence
from portal.store.schema import remarks

__all__ = ["MAX_BYTES", "STANCES", "Remark", "Remarks"]

STANCES = ("for", "against", "question")
MAX_BYTES = 4000
_EACH = 20
"""Remarks of one member on one proposal."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing somebody said."""

    id: str
    proposal: str
    member: str
    stance: str
    text: str
    created: str


_OF: Final = select(remarks).where(remarks.c.proposal == bindparam("proposal")).order_by(remarks.c.created.desc(), remarks.c.id).limit(500)


class Remarks:
    """What was said, by proposal."""

    def __init__(self, database: StoreDatabase, clock: Callable[[], str]) -> None:
        self._database, self._clock = database, clock

    def say(self, proposal: str, member: str, stance: str, text: str) -> None:
        """Keep a remark; raise BadInput for one that is empty, too long, too many, or would be shown as another text."""
        if stance not in STANCES:
            raise BadInput("a remark is for, against, or a question", value=stance[:40], allowed=", ".join(STANCES))
        for problem in text_problems(Sentence("the remark"), text, MAX_BYTES):
            raise BadInput(problem.what, value=problem.value, allowed=problem.allowed)
        with self._database.transaction(write=True) as connection:
            mine = (remarks.c.proposal == proposal) & (remarks.c.member == member)
            if (connection.execute(select(func.count()).where(mine)).scalar() or 0) >= _EACH:
                raise BadInput("you said much about this proposal already", value=_EACH, next="remove one of your remarks first")
            connection.execute(
                insert(remarks).values(id=secrets.token_hex(12), proposal=proposal, member=member, stance=stance, text=text, created=self._clock())
            )

    def of(self, proposal: str) -> list[Remark]:
        """Return the remarks on a proposal, oldest first; the newest 500."""
        with self._database.transaction() as connection:
            return [Remark(**row._mapping) for row in connection.execute(_OF, {"proposal": proposal})][::-1]

    def erase(self, identifier: str, member: str) -> None:
        """Erase a remark of a member."""
        with self._database.transaction(write=True) as connection:
            connection.execute(delete(remarks).where(remarks.c.id == identifier, remarks.c.member == member))
        self._database.forget(remarks.name)

"""Texts somebody wrote and never signed for: they are private, nobody may use them, and after a term they go."""

from __future__ import annotations

from governance_hooks.statement import shift
from portal.service import Service
from portal.store.drafted import KEPT_S

__all__ = ["TERM_S", "forget_unsigned"]

TERM_S = KEPT_S + 86_400
"""A day longer than the statement that would seal them waits for its signature, seconds."""


def forget_unsigned(service: Service, *, member: str | None = None) -> int:
    """Remove batches no statement in the log carries: those past their term; all of a member's, if one is named. Return how many went."""
    store, before = service.house.contributions(), shift(service.clock(), -TERM_S)
    waiting = [one for one in store.unsealed() if (one.member == member if member else one.created_at <= before)]
    if not waiting:
        return 0
    with service.view.reading() as register:
        signed = {(one.author, one.root) for one in register.contributions.values()}
    return store.discard(one.batch for one in waiting if (one.member, one.root) not in signed)

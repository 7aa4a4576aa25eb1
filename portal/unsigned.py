"""What somebody wrote and never signed for: texts and reasons. They are private, nobody may use them, and after a term they go."""

from __future__ import annotations

from collections.abc import Collection

from governance_hooks.statement import shift
from portal import reasons
from portal.service import Service
from portal.store.drafted import KEPT_S

__all__ = ["TERM_S", "forget_reasons", "forget_unsigned"]

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


def forget_reasons(service: Service, wanted: Collection[str] | None = None) -> int:
    """Remove reasons that no statement names, neither one in the log nor one that waits to be signed: these, or those past their term. Return how many went.

    Each goes in one step, and nothing says that it shall: whatever a kill leaves is found the next time.
    """
    with service.view.reading():
        named = service.view.reasons
        found = service.house.old_reasons(shift(service.clock(), -TERM_S), named) if wanted is None else [one for one in wanted if one not in named]
    if not found:
        return 0
    service.private.drafts.expire()
    waiting = service.private.drafts.reasons()
    gone = [one for one in found if one not in waiting]
    for one in gone:
        service.house.erase_reason(one)
    reasons.forget()
    return len(gone)

"""Which texts of others a member may read: to review and improve them, while every author allows some use of theirs."""

from __future__ import annotations

import random
import secrets
from collections import defaultdict
from contextlib import closing

from data_pipeline.record import Record
from governance_hooks.errors import Refused
from governance_hooks.register import Register
from portal import i18n
from portal.visit import Visit

__all__ = ["draw", "readable", "readable_record"]

LOOKS = 6
"""Pages of the store one draw looks at."""
PAGE = 128


def readable(register: Register, record: Record, now: str) -> bool:
    """Tell whether a text is sealed, there, and each of its authors is a member who allows a use of it that has not ended."""
    return (
        record.statement is not None
        and record.erased_at is None
        and all(
            any(
                grant.withdrawn is None
                and (grant.consent.expires is None or now < grant.consent.expires)
                and (grant.consent.scope.languages is None or record.language in grant.consent.scope.languages)
                and (grant.consent.scope.batches is None or record.statement in grant.consent.scope.batches)
                for grant in register.grants.get(author, [])
            )
            for author in record.authors
        )
    )


def readable_record(visit: Visit, register: Register, identifier: str) -> Record:
    """Return a text of another member that may be read; the refusal is the same for one that is not there."""
    found = visit.service.house.contributions().some([identifier])
    if not found or not readable(register, found[0], visit.service.clock()):
        raise Refused(i18n.gettext("there is no such text to read"), next=i18n.gettext("take the next one of the review page"))
    return found[0]


def draw(visit: Visit, register: Register, member: str, languages: set[str], skip: set[str]) -> Record | None:
    """Draw a text to review: each author is as likely as any other, whoever wrote much, and what few have rated comes first.

    Args:
        member: who reviews; their own texts, and those they rated, are left out.
        languages: ISO 639-3 codes they read; empty for all.
        skip: records not to be drawn.
    """
    store, now = visit.service.house.contributions(), visit.service.clock()
    start = secrets.token_hex(12)
    for _ in range(LOOKS):
        with closing(store.pages(start, None, PAGE)) as pages:  # type: ignore[type-var]
            page = next(pages, [])
        found = [
            one
            for one in page
            if one.record not in skip and member not in one.authors and (not languages or one.language in languages) and readable(register, one, now)
        ]
        reviewers = {one.record: [rating.reviewer for rating in store.reviews.ratings(one.record, one.record + "\0")] for one in found}
        by_author: dict[str, list[Record]] = defaultdict(list)
        for one in found:
            if member not in reviewers[one.record]:
                by_author[one.member].append(one)
        if by_author:
            mine = by_author[random.SystemRandom().choice(sorted(by_author))]
            return min(mine, key=lambda one: (len(reviewers[one.record]), one.record))
        start = page[-1].record + "\0" if page else ""  # from the start again, after the last
    return None

"""Rules of consent, contribution and review: only the member themself gives, withdraws, contributes and rates, and a limited consent is used up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from governance_hooks.consent import Consent, Use, permits
from governance_hooks.errors import Refused
from governance_hooks.ledger import LedgerRow
from governance_hooks.payloads.consents import Contribution as ContributionPayload
from governance_hooks.payloads.consents import Reviewed, Withdrawal
from governance_hooks.sentence import Sentence
from governance_hooks.state.consents import Contribution, Grant, Review

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["choose", "contribute", "counted", "give", "review", "use_up", "withdraw"]


def give(register: Register, statement: Statement) -> None:
    """Record a consent signed by the member."""
    member = register.author(statement)
    register.grants.setdefault(member.id, []).append(Grant(statement.id, member.id, cast(Consent, statement.payload), given=register.size))


def withdraw(register: Register, statement: Statement) -> None:
    """End one consent of the member, or all, at this log position."""
    member = register.author(statement)
    wanted = cast(Withdrawal, statement.payload).consent
    ended = [grant for grant in register.grants.get(member.id, []) if grant.withdrawn is None and wanted in (None, grant.id)]
    if not ended:
        raise Refused(Sentence("there is no consent of yours in force to withdraw"), value=wanted or "all", allowed="coop consent show")
    for grant in ended:
        grant.withdrawn = register.size


def contribute(register: Register, statement: Statement) -> None:
    """Record the commitment to a batch, signed by the member who gives it."""
    member = register.author(statement)
    payload = cast(ContributionPayload, statement.payload)
    if sum(payload.languages.values()) != payload.records:
        raise Refused(Sentence("texts by language do not add up"), value=sum(payload.languages.values()), allowed=str(payload.records))
    register.contributions[statement.id] = Contribution(statement.id, member.id, payload.records, payload.root, dict(payload.languages), register.size)


def review(register: Register, statement: Statement) -> None:
    """Record the commitment to ratings, signed by the member in good standing who gives them."""
    register.standing(statement.author)
    member = register.author(statement)
    payload = cast(Reviewed, statement.payload)
    register.reviews[statement.id] = Review(statement.id, member.id, payload.ratings, payload.root, register.size)


def choose(
    register: Register,
    member: str,
    use: Use,
    *,
    language: str,
    batch: str,
    at: str,
    position: int | None = None,
    run: str | None = None,
    without: str | None = None,
) -> Grant | None:
    """Return the consent a record stands on, or None: an unlimited one if there is any, else one counted for the run, else the newest with runs left.

    Args:
        member: whose record it is.
        use: purpose, processing, recipients and licence asked for.
        language: ISO 639-3 of the record.
        batch: contribution statement the record came with.
        at: instant (RFC 3339 UTC) against which expiry is judged.
        position: judge as of a log of this many entries; now, if None.
        run: the run it is for; None for one that has not started.
        without: a consent to be taken for withdrawn.
    """
    where = register.size if position is None else position
    fitting = (
        grant
        for grant in register.grants.get(member, [])
        if grant.id != without and grant.stands(where) and grant.left(run, where) and permits(grant.consent, use, language=language, batch=batch, at=at)
    )
    return max(fitting, key=lambda grant: (grant.consent.occurrences is None, grant.used.get(run or "", where) < where, grant.given), default=None)


def counted(register: Register, rows: Sequence[LedgerRow], use: Use, *, at: str, run: str, position: int | None = None) -> list[int]:
    """Return the log positions of the limited consents a start of the run on these records stands on, ascending; see `choose`."""
    if all(grant.consent.occurrences is None for grants in register.grants.values() for grant in grants):
        return []
    asked = {(author, row.language, row.batch) for row in rows for author in row.authors}
    chosen = (choose(register, author, use, language=language, batch=batch, at=at, position=position, run=run) for author, language, batch in asked)
    return sorted({grant.given for grant in chosen if grant is not None and grant.consent.occurrences is not None})


def use_up(register: Register, run: str, positions: Sequence[int], at: str) -> None:
    """Count a run against limited consents; refuse one that has ended, expired or has no run left. A restart counts nothing twice."""
    if list(positions) != sorted(set(positions)):
        raise Refused("the consents a start counts are listed once each, in the order of the log", value=list(positions))
    limited = {grant.given: grant for grants in register.grants.values() for grant in grants if grant.consent.occurrences is not None} if positions else {}
    for position in positions:
        grant = limited.get(position)
        if grant is None:
            raise Refused("this entry is no consent limited to a number of runs", value=position)
        if not grant.stands(register.size) or (grant.consent.expires is not None and at >= grant.consent.expires):
            raise Refused(Sentence("this consent is withdrawn or expired"), value=grant.id)
        if not grant.left(run, register.size):
            raise Refused(
                Sentence("this consent allows {count} run(s), and {used} used it", count=grant.consent.occurrences, used=len(grant.used)),
                value=grant.id,
                next="build again without the member's texts, or ask for a new consent",
            )
    for position in positions:
        limited[position].used.setdefault(run, register.size)

"""Which rows may go to an outsider at this moment, and the answers that may be counted over them: pure functions of ledger, log and request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from governance_hooks.consent import Consent
from governance_hooks.ledger import LedgerRow
from governance_hooks.stake.request import AccessRequest
from governance_hooks.vocabulary import covers

if TYPE_CHECKING:
    from governance_hooks.register import Register

__all__ = ["ROUND", "answer", "eligible", "members_of", "permits_outside"]

ROUND: Final = 5
"""Counts are rounded down to a multiple of this: one member more or less seldom shows."""


def permits_outside(consent: Consent, request: AccessRequest, *, language: str, batch: str, at: str) -> bool:
    """Tell whether a consent lets a record go to this kind of outsider, in this form, for this, under this licence, at an instant.

    One limited to a number of training runs lets nothing out: what is handed out cannot be counted in runs.
    """
    outside = consent.outside
    return (
        outside is not None
        and request.recipient in outside.recipients
        and request.form in outside.forms
        and consent.occurrences is None
        and any(covers(allowed, request.purpose) for allowed in consent.purposes)
        and request.licence in consent.licences
        and (consent.scope.languages is None or language in consent.scope.languages)
        and (consent.scope.batches is None or batch in consent.scope.batches)
        and (consent.expires is None or at < consent.expires)
    )


def eligible(register: Register, rows: Sequence[LedgerRow], request: AccessRequest, *, at: str, position: int | None = None) -> list[LedgerRow]:
    """Return the rows of a build that may go out, each with the consents it stands on now; every author in its ancestry must allow it.

    Languages of fewer members than the request asks for are left out, and those it does not name.
    """
    where = register.size if position is None else position
    found: dict[tuple[str, str, str], str | None] = {}

    def consent_of(author: str, language: str, batch: str) -> str | None:
        key = (author, language, batch)
        if key not in found:
            standing = [
                grant
                for grant in register.grants.get(author, [])
                if grant.stands(where) and permits_outside(grant.consent, request, language=language, batch=batch, at=at)
            ]
            found[key] = max(standing, key=lambda grant: grant.given).id if standing else None
        return found[key]

    kept: list[LedgerRow] = []
    for row in rows:
        if request.languages is not None and row.language not in request.languages:
            continue
        consents = [consent_of(author, row.language, row.batch) for author in row.authors]
        if all(consent is not None for consent in consents):
            kept.append(replace(row, consents=[consent for consent in consents if consent is not None]))
    members = members_of(kept)
    return [row for row in kept if len(members[row.language]) >= request.minimum_members]


def members_of(rows: Sequence[LedgerRow]) -> dict[str, set[str]]:
    """Return the distinct authors by language."""
    members: dict[str, set[str]] = {}
    for row in rows:
        members.setdefault(row.language, set()).update(row.authors)
    return members


def answer(rows: Sequence[LedgerRow], request: AccessRequest) -> dict[str, Any]:
    """Return the answer to the request's query over eligible rows; no total stands in it, from which a left-out language could be told."""
    members = members_of(rows)
    records: dict[str, int] = {}
    for row in rows:
        records[row.language] = records.get(row.language, 0) + 1
    counts = records if request.query == "records-by-language" else {language: len(found) for language, found in members.items()}
    return {
        "format": "coop.answer/v1",
        "query": request.query,
        "rounded_down_to": ROUND,
        "counts": {language: count - count % ROUND for language, count in sorted(counts.items())},
    }

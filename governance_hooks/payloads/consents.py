"""Payloads of what members give: batches of records, ratings, and the withdrawal of a consent."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from governance_hooks.fields import Count, Digest, Language, Strict

__all__ = ["Contribution", "Reviewed", "Withdrawal"]


class Withdrawal(Strict):
    """The author withdraws one consent, or all of them (null)."""

    consent: Digest | None


class Contribution(Strict):
    """A batch of records, committed to by a Merkle root over salted commitments."""

    records: Annotated[int, Field(gt=0)]
    root: Digest
    languages: dict[Language, Count]


class Reviewed(Strict):
    """Ratings of records, committed to by a Merkle root over salted commitments."""

    ratings: Annotated[int, Field(gt=0)]
    root: Digest

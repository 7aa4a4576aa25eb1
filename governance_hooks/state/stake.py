"""Money taken in, and data handed to outsiders."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Delivery", "Income"]


@dataclass(slots=True)
class Income:
    """Money taken in, and the payout that shared it out."""

    id: str
    amount: int
    """Minor units."""
    currency: str
    source: str
    paper: str
    proposal: str | None
    position: int
    paid: str | None = None
    """Digest of the payout."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Data, or an answer, handed to an outsider."""

    id: str
    request: str
    proposal: str
    delivery: str
    kind: str
    records: int
    income: str | None
    issued: str
    position: int

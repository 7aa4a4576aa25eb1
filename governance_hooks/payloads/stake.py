"""Payloads of money and data: payouts, incomes and deliveries."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from governance_hooks.fields import Count, Digest, Strict
from governance_hooks.money import Currency

__all__ = ["Delivered", "IncomeBooked", "Payout"]


class Payout(Strict):
    """The operator paid what members approved."""

    payout: Digest
    proposal: Digest
    incomes: list[Digest] = Field(default_factory=list)
    """The statements that booked what is shared out, sorted; each is shared out once."""


class IncomeBooked(Strict):
    """The operator took in money for the cooperative: amounts and ids only."""

    amount: Annotated[int, Field(gt=0, lt=2**53)]
    """In the currency's minor unit, cents for example."""
    currency: Currency
    source: Literal["access", "donation", "grant", "licence-fee"]
    paper: Digest
    """Of the contract or letter, which stays with the cooperative; with source access of the request members approved."""
    proposal: Digest | None
    """With source access: the vote that approved the request; null with every other."""


class Delivered(Strict):
    """The operator handed data, or an answer, to an outsider as members approved."""

    request: Digest
    proposal: Digest
    delivery: Digest
    """Of the delivery's own list of files."""
    kind: Literal["aggregate", "extract"]
    records: Count
    """Rows handed over, or counted for the answer."""
    income: Digest | None
    """The statement that booked its price; null where there is none."""

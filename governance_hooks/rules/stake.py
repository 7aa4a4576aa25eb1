"""Rules of the members' stake: money is booked once and shared out once, and data leave the house once for each approval."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from governance_hooks.errors import Refused
from governance_hooks.payloads.stake import Delivered, IncomeBooked
from governance_hooks.rules.runs import require_counted, require_usable
from governance_hooks.state.stake import Delivery, Income

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["book", "deliver"]


def book(register: Register, statement: Statement) -> None:
    """Record money taken in; one paper brings money once, and the price of an access is booked under its vote."""
    register.require_operator(statement)
    payload = cast(IncomeBooked, statement.payload)
    if (payload.source == "access") != (payload.proposal is not None):
        raise Refused("an income from access names the vote that approved it, and no other income does", value=payload.source)
    if payload.proposal is not None:
        require_usable(register.proposal(payload.proposal), "access", payload.paper, statement.issued)
    twin = next((one for one in register.incomes.values() if one.paper == payload.paper), None)
    if twin is not None:
        raise Refused("this paper's income is booked already", value=payload.paper, allowed=f"once, as {twin.id}; a second instalment has a paper of its own")
    register.incomes[statement.id] = Income(statement.id, payload.amount, payload.currency, payload.source, payload.paper, payload.proposal, register.size)


def deliver(register: Register, statement: Statement) -> None:
    """Record a delivery to an outsider that members approved by the digest of its request, once."""
    register.require_operator(statement)
    payload = cast(Delivered, statement.payload)
    proposal = register.proposal(payload.proposal)
    require_usable(proposal, "access", payload.request, statement.issued)
    require_counted(register, statement.issued)
    if proposal.used >= proposal.uses or payload.request in register.deliveries:
        raise Refused("this request is delivered already", value=payload.request, allowed="one delivery of a request", next="coop access request, for another")
    if payload.income is not None:
        income = register.incomes.get(payload.income)
        if income is None or income.proposal != proposal.id:
            raise Refused("this income is not the price of this request", value=payload.income, next="coop access pay, once the price has come in")
    proposal.used += 1
    register.deliveries[payload.request] = Delivery(
        id=statement.id,
        request=payload.request,
        proposal=proposal.id,
        delivery=payload.delivery,
        kind=payload.kind,
        records=payload.records,
        income=payload.income,
        issued=statement.issued,
        position=register.size,
    )

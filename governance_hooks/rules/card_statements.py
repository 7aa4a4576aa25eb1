"""Rules of card statements: a member speaks for themself, about a run the log knows; a dissent is the reason on their own counted ballot."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from governance_hooks.card_statement import CardStatement, CardStatementMade
from governance_hooks.errors import Refused

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["speak"]


def speak(register: Register, statement: Statement) -> None:
    """Record what a member says on a card; other members may sign it too, who have read it."""
    register.require_recent(statement)
    signers = register.cosigners(statement, statement.signers)
    payload = cast(CardStatement, statement.payload)
    proposal = register.proposal(register.run(payload.run).proposal)
    if payload.field == "dissent" and payload.text is not None:
        vote = proposal.votes.get(statement.author)
        if vote is None or vote.choice != "against" or vote.reason != payload.text:
            raise Refused(
                "this is not the reason the author gave with their ballot against the run",
                value=payload.text,
                allowed=(vote.reason if vote is not None and vote.choice == "against" else None) or "none: they gave no reason against it",
            )
    register.card_statements[statement.id] = CardStatementMade(
        statement.id, statement.author, tuple(one for one in signers if one != statement.author), payload.run, payload.field, payload.language,
        payload.text, payload.absent, payload.translates, statement.issued, register.size,
    )  # fmt: skip

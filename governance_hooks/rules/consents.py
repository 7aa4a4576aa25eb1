"""Rules of consent and contribution: only the member themself gives, withdraws and contributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from governance_hooks.consent import Consent
from governance_hooks.errors import Refused
from governance_hooks.payloads import Contribution as ContributionPayload
from governance_hooks.payloads import Withdrawal
from governance_hooks.state import Contribution, Grant

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["contribute", "give", "withdraw"]


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
        raise Refused("there is no consent of yours in force to withdraw", value=wanted or "all", allowed="coop consent show")
    for grant in ended:
        grant.withdrawn = register.size


def contribute(register: Register, statement: Statement) -> None:
    """Record the commitment to a batch, signed by the member who gives it."""
    member = register.author(statement)
    payload = cast(ContributionPayload, statement.payload)
    if sum(payload.languages.values()) != payload.records:
        raise Refused("records by language do not add up", value=sum(payload.languages.values()), allowed=str(payload.records))
    register.contributions[statement.id] = Contribution(statement.id, member.id, payload.records, payload.root, dict(payload.languages))

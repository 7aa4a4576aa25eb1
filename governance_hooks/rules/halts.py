"""Rules of halts: the oversight body stops an approval for a limited time, once; after that it is the members' matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from governance_hooks.errors import Refused
from governance_hooks.payloads.proposals import Halt as HaltPayload
from governance_hooks.sentence import Sentence
from governance_hooks.state.proposals import Halt, Proposal
from governance_hooks.statement import shift

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["HALTABLE", "halt", "halted_before", "require_haltable"]

HALTABLE: Final = ("run", "release", "access")
"""Kinds of approvals that can be halted."""


def require_haltable(proposal: Proposal) -> None:
    """Refuse a halt of anything but a run, a release or an access: a motion takes effect by itself, and a payout has its own vote."""
    if proposal.kind not in HALTABLE:
        raise Refused(Sentence("what is halted is the approval of a run, a release or an access"), value=proposal.kind)


def halted_before(proposal: Proposal) -> Halt | None:
    """Return the halt of an approval that the oversight body made, which it can do once; None if it made none."""
    return next((one for one in proposal.halts if not one.by_members), None)


def halt(register: Register, statement: Statement) -> None:
    """Halt the use of an approval for a limited time, if enough of the oversight body signed and it did not do so before."""
    register.require_recent(statement)
    payload = cast(HaltPayload, statement.payload)
    proposal = register.proposal(payload.proposal)
    require_haltable(proposal)
    body, owners = register.oversight(), set()
    for signer in statement.signers:
        owner = register.holder(signer)
        if owner is None or owner not in body:
            raise Refused(
                Sentence("a halt is signed by somebody who is not of the oversight body"),
                value=register.known_keys.get(signer, "a key nobody enrolled"),
                allowed=", ".join(body) or "nobody: no seat is held",
            )
        owners.add(owner)
    if len(owners) < register.bylaws.oversight_required or statement.author not in owners:
        raise Refused(
            Sentence("too few of the oversight body signed this halt"),
            value=len(owners),
            allowed=Sentence("{number}, the author among them", number=register.bylaws.oversight_required),
        )
    register.require_community(owners)
    earlier = halted_before(proposal)
    if earlier is not None:
        raise Refused(
            Sentence("the oversight body has halted this approval before: only members can prolong or renew a halt"),
            value=earlier.id,
            next="coop propose halt PROPOSAL --ratifies HALT",
        )
    latest = shift(statement.issued, register.bylaws.halt_max_s)
    if not statement.issued < payload.until <= latest:
        raise Refused(
            Sentence("a halt lasts for a limited time"),
            value=payload.until,
            allowed=Sentence("after {when}, until {latest} at most", when=statement.issued, latest=latest),
        )
    made = Halt(statement.id, proposal.id, statement.issued, payload.until, by_members=False)
    proposal.halts.append(made)
    register.halts[made.id] = made

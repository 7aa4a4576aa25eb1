"""Rules of proposals: opening freezes rules and roll, ballots follow the roll, the close is recounted, halts lapse."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from governance_hooks import tally
from governance_hooks.errors import Refused
from governance_hooks.payloads import Ballot, Close, Halt, ProposalOpened
from governance_hooks.state import Proposal, Vote
from governance_hooks.statement import shift

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["cast_ballot", "close", "halt", "open_proposal"]


def open_proposal(register: Register, statement: Statement) -> None:
    """Open a proposal whose rules and roll are those of this log position."""
    member = register.author(statement)
    register.require_recent(statement)
    payload = cast(ProposalOpened, statement.payload)
    rules = register.bylaws.kinds[payload.kind]
    if payload.rules != rules:
        raise Refused("a proposal copies the rules of the bylaws in force", value=payload.rules.model_dump(), allowed=str(rules.model_dump()))
    roll = register.active()
    if payload.roll.members != len(roll) or payload.roll.root != tally.roll_root(roll):
        raise Refused("a proposal's roll is that of its log position", value=payload.roll.members, allowed=f"{len(roll)} members; open the proposal again")
    earliest = shift(statement.issued, rules.minimum_period_s)
    if payload.closes < earliest:
        raise Refused("a proposal stays open for the minimum period", value=payload.closes, allowed=f"{earliest} or later")
    register.proposals[statement.id] = Proposal(
        statement.id,
        payload.kind,
        payload.subject,
        rules,
        frozenset(roll),
        payload.roll.root,
        member.id,
        register.size,
        statement.issued,
        payload.closes,
        payload.uses,
    )


def cast_ballot(register: Register, statement: Statement) -> None:
    """Count a ballot of somebody on the frozen roll, in time, with a sequence above their last one."""
    member = register.author(statement)
    payload = cast(Ballot, statement.payload)
    proposal = register.proposal(payload.proposal)
    if member.id not in proposal.roll:
        raise Refused("not on the roll of this proposal, which was frozen when it opened", value=member.id)
    if proposal.closed is not None or statement.issued > proposal.closes:
        raise Refused("this vote is closed", value=statement.issued, allowed=f"until {proposal.closes}")
    register.require_recent(statement)
    earlier = proposal.votes.get(member.id)
    expected = earlier.sequence + 1 if earlier else 1  # one by one: no ballot of a stolen key can be the last for ever
    if payload.sequence != expected:
        raise Refused(
            "ballots of a member are numbered one by one", value=payload.sequence, allowed=f"{expected}: a later ballot of yours may be counted already"
        )
    proposal.votes[member.id] = Vote(payload.choice, payload.sequence, statement.id, payload.reason)


def close(register: Register, statement: Statement) -> None:
    """Close a proposal when its time is over; a close that miscounts is refused."""
    register.require_operator(statement)
    payload = cast(Close, statement.payload)
    proposal = register.proposal(payload.proposal)
    if proposal.closed is not None:
        raise Refused("this vote is closed already", value=proposal.id)
    if statement.issued < proposal.closes:
        raise Refused("this vote is still open", value=statement.issued, allowed=f"{proposal.closes} or later")
    result = tally.count((vote.choice for vote in proposal.votes.values()), len(proposal.roll), proposal.rules)
    stated = (payload.votes_for, payload.votes_against, payload.votes_abstain, payload.outcome)
    counted = (result.votes_for, result.votes_against, result.votes_abstain, result.outcome)
    if stated != counted:
        raise Refused("the close does not match the ballots", value=stated, allowed=str(counted))
    proposal.closed, proposal.closed_at, proposal.tally = register.size, statement.issued, result


def halt(register: Register, statement: Statement) -> None:
    """Halt the use of an approval for a limited time, if enough of the oversight body signed."""
    register.require_recent(statement)
    payload = cast(Halt, statement.payload)
    proposal = register.proposal(payload.proposal)
    owners = set()
    for signer in statement.signers:
        owner = register.known_keys.get(signer, "")
        member = register.members.get(owner)
        if owner not in register.bylaws.oversight or member is None or member.left is not None or signer not in member.keys:
            raise Refused(
                "a halt is signed by somebody who is not of the oversight body",
                value=owner or "a key nobody enrolled",
                allowed=", ".join(register.bylaws.oversight) or "nobody: the bylaws name none",
            )
        owners.add(owner)
    if len(owners) < register.bylaws.oversight_required or statement.author not in owners:
        raise Refused(
            "too few of the oversight body signed this halt", value=len(owners), allowed=f"{register.bylaws.oversight_required}, the author among them"
        )
    latest = shift(statement.issued, register.bylaws.halt_max_s)
    if not statement.issued < payload.until <= latest:
        raise Refused("a halt lasts for a limited time", value=payload.until, allowed=f"after {statement.issued}, until {latest} at most")
    proposal.halts.append((register.size, statement.issued, payload.until))

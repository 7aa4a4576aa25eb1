"""Rules of closing: a close is recounted, and a challenge window lets members object to what was approved."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from governance_hooks import preferences
from governance_hooks.errors import Refused
from governance_hooks.motions import MOTIONS, Consult
from governance_hooks.payloads.ballots import Close, ConsultationClose, OpinionCount
from governance_hooks.payloads.proposals import Objection
from governance_hooks.sentence import Sentence
from governance_hooks.state.proposals import Proposal
from governance_hooks.tally import quorate

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["close", "close_consultation", "consult", "count_opinions", "object_to"]


def close(register: Register, statement: Statement) -> None:
    """Close a proposal when its time is over; a close that miscounts is refused."""
    payload = cast(Close, statement.payload)
    proposal = _ready(register, statement, payload.proposal)
    if isinstance(proposal.motion, Consult):
        raise Refused("a consultation is closed with its winners", value=proposal.id, allowed="coop.consultation-close/v1")
    result = proposal.count()
    stated = (payload.votes_for, payload.votes_against, payload.votes_abstain, payload.outcome)
    counted = (result.votes_for, result.votes_against, result.votes_abstain, result.outcome)
    if stated != counted:
        raise Refused("the close does not match the ballots", value=stated, allowed=str(counted))
    proposal.closed, proposal.closed_at, proposal.tally = register.size, statement.issued, result
    if result.approved and proposal.kind in MOTIONS:
        register.pending.append(proposal)


def consult(proposal: Proposal) -> tuple[int, bool, list[int]]:
    """Return how many answered a consultation, whether they were a quorum, and the options no other is preferred to (none of statements)."""
    assert isinstance(proposal.motion, Consult)
    ballots = [vote.options for vote in proposal.votes.values()]
    reached, _ = quorate(len(ballots), 0, 0, len(proposal.roll), proposal.rules)
    if proposal.motion.method == "opinions":
        return len(ballots), reached, []
    return len(ballots), reached, preferences.winners(ballots, len(proposal.motion.options), proposal.motion.method)


def count_opinions(proposal: Proposal) -> list[OpinionCount]:
    """Return the count of each statement of a consultation of statements; none of any other."""
    if not isinstance(proposal.motion, Consult) or proposal.motion.method != "opinions":
        return []
    counts = preferences.opinions((vote.answers for vote in proposal.votes.values()), len(proposal.motion.options))
    return [OpinionCount(agree=agree, disagree=disagree, passed=passed) for agree, disagree, passed in counts]


def close_consultation(register: Register, statement: Statement) -> None:
    """Close a consultation when its time is over; a close that miscounts is refused."""
    payload = cast(ConsultationClose, statement.payload)
    proposal = _ready(register, statement, payload.proposal)
    if not isinstance(proposal.motion, Consult):
        raise Refused("this is no consultation", value=proposal.kind, allowed="coop.close/v1")
    stated, counted = (payload.cast, payload.quorate, payload.winners, payload.opinions), (*consult(proposal), count_opinions(proposal))
    if stated != counted:
        raise Refused("the close does not match the ballots", value=stated, allowed=str(counted))
    proposal.closed, proposal.closed_at, proposal.winners = register.size, statement.issued, tuple(payload.winners)


def _ready(register: Register, statement: Statement, identifier: str) -> Proposal:
    register.require_operator(statement)
    proposal = register.proposal(identifier)
    if proposal.closed is not None:
        raise Refused("this vote is closed already", value=proposal.id)
    if statement.issued < proposal.closes:
        raise Refused("this vote is still open", value=statement.issued, allowed=f"{proposal.closes} or later")
    first = min((one for one in register.proposals.values() if one.closed is None), key=lambda one: (one.closes, one.opened))
    if first is not proposal:  # else whoever closes would choose which of two decisions comes first, and which never
        raise Refused("votes are closed in the order they ended", value=proposal.id, allowed=first.id, next=f"coop close {first.id[:19]}")
    return proposal


def object_to(register: Register, statement: Statement) -> None:
    """Record an objection of somebody on the roll in the challenge window; enough of them undo the approval."""
    member = register.author(statement)  # who is on the frozen roll, suspended since or not: as for ballots
    payload = cast(Objection, statement.payload)
    proposal = register.proposal(payload.proposal)
    register.require_recent(statement)
    if proposal.rules.objections is None:
        raise Refused(Sentence("the rules of this vote know no objections"), value=proposal.kind, allowed=Sentence("an appeal, or another proposal"))
    if member.id not in proposal.roll:
        raise Refused(Sentence("not on the roll of this proposal, which was frozen when it opened"), value=member.id)
    if proposal.tally is None or not proposal.tally.approved:
        raise Refused(Sentence("nothing was approved that one could object to"), value=proposal.id)
    if max(statement.issued, register.operator_clock) >= proposal.due():
        raise Refused(Sentence("the time to object is over"), value=statement.issued, allowed=Sentence("before {when}", when=proposal.due()))
    if member.id in proposal.objections:
        raise Refused(Sentence("you have objected already"), value=member.id)
    proposal.objections[member.id] = payload.reason

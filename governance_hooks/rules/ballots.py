"""Rules of voting: ballots, preferences and opinions follow the frozen roll, come in time, and are numbered."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, cast

from governance_hooks.errors import Refused
from governance_hooks.motions import Consult
from governance_hooks.payloads.ballots import Ballot, Opinions, Preference
from governance_hooks.sentence import Sentence
from governance_hooks.state.proposals import Proposal, Vote
from governance_hooks.statement import shift
from governance_hooks.tally import quorate

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["cast_ballot", "opine", "prefer"]

_STATEMENTS = "coop vote PROPOSAL agree=1,4-6 disagree=2"


def cast_ballot(register: Register, statement: Statement) -> None:
    """Count a ballot of somebody on the frozen roll, in time, with the next number."""
    payload = cast(Ballot, statement.payload)
    proposal = register.proposal(payload.proposal)
    if proposal.kind == "consultation":
        raise Refused("a consultation asks for options, not for or against", value=payload.choice, next="coop vote PROPOSAL 1 3 2")
    _count(register, statement, proposal, _vote(payload.choice, payload.sequence, statement.id, payload.reason))


@lru_cache(maxsize=1)  # a portal folds each ballot of the log into two registers, one after the other, and keeps one vote
def _vote(choice: str, sequence: int, ballot: str, reason: str | None) -> Vote:
    return Vote(choice, sequence, ballot, reason)


def prefer(register: Register, statement: Statement) -> None:
    """Count an answer to a consultation: options approved of, or options in order."""
    payload = cast(Preference, statement.payload)
    proposal = register.proposal(payload.proposal)
    motion = proposal.motion
    if not isinstance(motion, Consult):
        raise Refused(
            "options are the answer to a consultation; this vote is for or against", value=proposal.kind, next="coop vote PROPOSAL for|against|abstain"
        )
    if motion.method == "opinions":
        raise Refused("this consultation asks what you think of each statement, not for options", value=payload.options, next=_STATEMENTS)
    options = payload.options
    if len(set(options)) != len(options) or any(option >= len(motion.options) for option in options):
        raise Refused("a preference names options of the question, each once", value=options, allowed=f"0 to {len(motion.options) - 1}")
    if motion.method == "approval" and options != sorted(options):
        raise Refused("approved options are listed in order", value=options, allowed=str(sorted(options)))
    _count(register, statement, proposal, Vote("", payload.sequence, statement.id, payload.reason, tuple(options)))


def opine(register: Register, statement: Statement) -> None:
    """Count an answer to a consultation of statements: agree, disagree or pass for each of them."""
    payload = cast(Opinions, statement.payload)
    proposal = register.proposal(payload.proposal)
    motion = proposal.motion
    if not isinstance(motion, Consult):
        raise Refused(
            "opinions are the answer to a consultation of statements; this vote is for or against",
            value=proposal.kind,
            next="coop vote PROPOSAL for|against|abstain",
        )
    if motion.method != "opinions":
        raise Refused("this consultation asks for options, not for opinions", value=motion.method, next="coop vote PROPOSAL 1 3 2")
    if len(payload.answers) != len(motion.options):
        raise Refused("there is one answer for each statement", value=len(payload.answers), allowed=str(len(motion.options)))
    _count(register, statement, proposal, Vote("", payload.sequence, statement.id, payload.reason, answers=tuple(payload.answers)))


def _count(register: Register, statement: Statement, proposal: Proposal, vote: Vote) -> None:
    member = register.author(statement)
    if member.id not in proposal.roll:
        raise Refused("not on the roll of this proposal, which was frozen when it opened", value=member.id)
    if proposal.closed is not None or statement.issued > proposal.closes:
        raise Refused("this vote is closed", value=statement.issued, allowed=Sentence("until {when}", when=proposal.closes))
    register.require_recent(statement)
    earlier = proposal.votes.get(member.id)
    expected = earlier.sequence + 1 if earlier else 1  # one by one: no ballot of a stolen key can be the last for ever
    if vote.sequence != expected:
        raise Refused(
            "ballots of a member are numbered one by one",
            value=vote.sequence,
            allowed=Sentence("{number}: a later ballot of yours may be counted already", number=expected),
        )
    # As OpenZeppelin's GovernorPreventLateQuorum: nobody is surprised by a quorum of the last minute. Only a late ballot counts the others.
    late = not proposal.extended and statement.issued > shift(proposal.closes, -proposal.rules.late_quorum_s)
    before = late and _reached(proposal)
    proposal.votes[member.id] = vote
    if late and not before and _reached(proposal):
        proposal.extended, proposal.closes = True, shift(proposal.closes, proposal.rules.late_quorum_s)


def _reached(proposal: Proposal) -> bool:
    """Tell whether a vote with a late-quorum rule has its quorum."""
    if not proposal.rules.late_quorum_s:
        return True
    choices = [vote.choice for vote in proposal.votes.values()]
    # An answer to a consultation counts as `closing.consult` counts it.
    yes, no, abstain = choices.count("for") + choices.count(""), choices.count("against"), choices.count("abstain")
    return quorate(yes, no, abstain, len(proposal.roll), proposal.rules)[0]

"""Rules of effect: what an approved motion does to the cooperative, by itself, when its challenge window is over by the log's clock.

Nobody enacts a decision, so nobody can leave one out. `check` says whether a motion could take effect as things stand: it is asked
when a proposal opens and again when it falls due. A motion that cannot by then lapses, and the register says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from governance_hooks.bylaws import Bylaws
from governance_hooks.errors import CoopError, Refused
from governance_hooks.motions import Admit, AmendBylaws, AppealAgainst, Appoint, ChangeOperator, HaltUse, Motion, Recall, Suspend, Waive
from governance_hooks.rules import recalls
from governance_hooks.rules.community import check_founders
from governance_hooks.rules.halts import require_haltable
from governance_hooks.rules.keys import fresh
from governance_hooks.sentence import Sentence
from governance_hooks.state.membership import Member, Seats
from governance_hooks.state.proposals import Halt, Proposal
from governance_hooks.statement import OPERATOR, shift

if TYPE_CHECKING:
    from governance_hooks.register import Register

__all__ = ["advance", "check"]


def advance(register: Register) -> None:
    """Put in effect what is due by the log's clock, in the order it falls due."""
    clock = register.operator_clock
    due = [one for one in register.pending if one.contested() or one.due() <= clock]
    for proposal in sorted(due, key=lambda one: (one.due(), one.closed or 0)):
        register.pending.remove(proposal)
        motion: Any = proposal.motion
        if proposal.contested():
            proposal.lapsed = Sentence("{count} members objected in time", count=len(proposal.objections))
        elif clock >= proposal.expires():
            proposal.lapsed = Sentence("the approval had expired when it was due, or the log lay still until then")
        else:
            try:
                check(register, motion)
            except CoopError as error:
                proposal.lapsed = error.what
            else:
                _EFFECTS[motion.kind](register, proposal, motion)
                proposal.enacted = register.size


def check(register: Register, motion: Motion) -> None:
    """Refuse a motion that could not take effect as things stand."""
    test = _CHECKS.get(motion.kind)
    if test is not None:
        test(register, motion)


def _check_bylaws(register: Register, motion: AmendBylaws) -> None:
    bylaws = motion.bylaws
    if bylaws.version != register.bylaws.version + 1:
        raise Refused("an amendment is of the bylaws in force, and has the next version", value=bylaws.version, allowed=str(register.bylaws.version + 1))
    strangers = bylaws.offices - set(register.active())
    if strangers:
        raise Refused("the new bylaws name somebody who is no member in good standing", value=sorted(strangers))
    bylaws.policy.require_independent(register.log_key, register.operator)
    check_founders(register, bylaws)
    _require_deciders(register, bylaws, set(register.active()))


def _require_deciders(register: Register, bylaws: Bylaws, people: set[str]) -> None:
    """Refuse if these people could never again amend the bylaws or hear an appeal: nothing would undo that."""
    for kind in ("bylaws", "appeal"):
        fewest = bylaws.rules(kind).fewest
        if len(people) < fewest:
            raise Refused(f"too few members in good standing would be left to ever approve a proposal of kind {kind}", value=len(people), allowed=f"{fewest}")
    register.require_community(people)


def _amend(register: Register, proposal: Proposal, motion: AmendBylaws) -> None:
    register.bylaws = motion.bylaws


def _check_waiver(register: Register, motion: Waive) -> None:
    run = register.run(motion.run)
    if run.report != motion.report:
        raise Refused("a waiver is about the evaluation the log knows", value=motion.report, allowed=run.report or "this run is not evaluated yet")
    if run.passed:
        raise Refused("this evaluation passed: there is nothing to waive", value=run.id)
    if not run.waivable:
        raise Refused(
            "the policy members voted before this run lets nobody waive what is missing or failed here", value=run.id, next="plan, vote and train anew"
        )
    refused = run.leak if run.leak_passed is False else None
    if motion.leak != refused:
        raise Refused("a waiver names the leak test that did not pass, and no other", value=motion.leak, allowed=refused or "none")
    if run.waiver is not None:
        raise Refused("this evaluation is waived already", value=run.waiver)


def _waive(register: Register, proposal: Proposal, motion: Waive) -> None:
    run = register.runs[motion.run]
    run.waiver, run.waived = proposal.id, register.size


def _check_admission(register: Register, motion: Admit) -> None:
    if motion.member in register.members:
        raise Refused("this member id is taken", value=motion.member)
    fresh(register, motion.key)


def _admit(register: Register, proposal: Proposal, motion: Admit) -> None:
    raw = fresh(register, motion.key)
    register.members[motion.member] = Member(motion.member, {raw}, joined=register.size)
    register.known_keys[raw], register.in_force_since[raw] = motion.member, register.size


def _check_suspension(register: Register, motion: Suspend) -> None:
    register.member(motion.member)
    if motion.until <= register.operator_clock:
        raise Refused("a suspension lasts until a time to come", value=motion.until, allowed=f"after {register.operator_clock}")
    _require_deciders(register, register.bylaws, set(register.active()) - {motion.member})


def _suspend(register: Register, proposal: Proposal, motion: Suspend) -> None:
    member = register.members[motion.member]
    member.suspended_until, member.suspended_by = motion.until, proposal.id


def _check_halt(register: Register, motion: HaltUse) -> None:
    proposal = register.proposal(motion.proposal)
    require_haltable(proposal)
    if motion.until <= register.operator_clock:
        raise Refused("a halt lasts until a time to come", value=motion.until, allowed=f"after {register.operator_clock}")
    if motion.ratifies is not None and motion.ratifies not in {one.id for one in proposal.halts if not one.by_members and not one.lifted}:
        raise Refused("the oversight body made no such halt of this approval, or an appeal ended it", value=motion.ratifies)


def _halt(register: Register, proposal: Proposal, motion: HaltUse) -> None:
    about = register.proposals[motion.proposal]
    if motion.ratifies is None:
        made = register.halts[proposal.id] = Halt(proposal.id, about.id, register.operator_clock, motion.until, by_members=True)
        about.halts.append(made)
        return
    ratified = register.halts[motion.ratifies]
    ratified.until, ratified.ratified = max(ratified.until, motion.until), True


def _check_recall(register: Register, motion: Recall) -> None:
    recalls.check(register, motion)


def _recall(register: Register, proposal: Proposal, motion: Recall) -> None:
    recalls.recall(register, proposal.id, motion)


def _check_appeal(register: Register, motion: AppealAgainst) -> None:
    halt = register.halts.get(motion.against)
    if halt is not None and halt.stands(register.operator_clock):
        return
    mark = register.marks.get(motion.against)
    if mark is not None and mark.stands(register.operator_clock):
        return
    if any(member.suspended_by == motion.against and register.suspended(member) for member in register.members.values()):
        return
    raise Refused(
        "there is no halt or suspension in force, nor a status of a release, with this digest",
        value=motion.against,
        allowed="a statement that halts or withdraws, or the proposal that did",
    )


def _lift(register: Register, proposal: Proposal, motion: AppealAgainst) -> None:
    if motion.against in register.halts:
        register.halts[motion.against].lifted = True
        return
    if motion.against in register.marks:
        register.marks[motion.against].lifted = True
        return
    for member in register.members.values():
        if member.suspended_by == motion.against:
            member.suspended_until = member.suspended_by = None


def _check_appointment(register: Register, motion: Appoint) -> None:
    how = register.bylaws.oversight_seated
    if how == "bylaws":
        raise Refused("these bylaws name the oversight body themselves", allowed="an amendment of the bylaws")
    if motion.members != sorted(set(motion.members)):
        raise Refused("the members of a body are listed once each, sorted", value=motion.members)
    for one in motion.members:
        register.standing(one)
    if len(motion.members) < register.bylaws.oversight_required:
        raise Refused("too few to ever act", value=len(motion.members), allowed=f"{register.bylaws.oversight_required} or more")
    register.require_community(motion.members)
    latest = shift(register.operator_clock, register.bylaws.oversight_term_s)
    if not register.operator_clock < motion.until <= latest:
        raise Refused("a term ends", value=motion.until, allowed=f"after {register.operator_clock}, until {latest} at most")
    if (motion.panel is not None) != (how == "lot"):
        raise Refused("the oversight body is seated by lot" if how == "lot" else "the oversight body is seated by vote", value=motion.panel)
    if motion.panel is not None and register.drawn(motion.panel) != motion.members:
        raise Refused("the members of the body are those drawn by lot", value=motion.members, allowed=str(register.drawn(motion.panel)))


def _appoint(register: Register, proposal: Proposal, motion: Appoint) -> None:
    register.seats = Seats(tuple(motion.members), motion.until)


def _check_operator(register: Register, motion: ChangeOperator) -> None:
    register.bylaws.policy.require_independent(register.log_key, fresh(register, motion.operator))


def _change_operator(register: Register, proposal: Proposal, motion: ChangeOperator) -> None:
    raw = fresh(register, motion.operator)
    register.operator, register.known_keys[raw] = raw, OPERATOR


_CHECKS: dict[str, Callable[[Register, Any], None]] = {
    "bylaws": _check_bylaws,
    "waiver": _check_waiver,
    "admission": _check_admission,
    "suspension": _check_suspension,
    "halt": _check_halt,
    "recall": _check_recall,
    "appeal": _check_appeal,
    "appointment": _check_appointment,
    "operator": _check_operator,
}

_EFFECTS: dict[str, Callable[[Register, Proposal, Any], None]] = {
    "bylaws": _amend,
    "waiver": _waive,
    "admission": _admit,
    "suspension": _suspend,
    "halt": _halt,
    "recall": _recall,
    "appeal": _lift,
    "appointment": _appoint,
    "operator": _change_operator,
}

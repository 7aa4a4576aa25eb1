"""Rules of opening: a proposal freezes rules and roll, is signed by its sponsors, and says in full what it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from governance_hooks import tally
from governance_hooks.errors import Refused
from governance_hooks.motions import MOTIONS, Admit, AppealAgainst, ChangeOperator, Motion, subject_of
from governance_hooks.payloads.proposals import Draft as DraftPayload
from governance_hooks.payloads.proposals import ProposalOpened
from governance_hooks.rules import effects, recalls
from governance_hooks.rules.keys import fresh
from governance_hooks.sentence import Sentence
from governance_hooks.state.proposals import Draft, Proposal
from governance_hooks.statement import shift

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["draft", "open_proposal"]


def draft(register: Register, statement: Statement) -> None:
    """Record a version of what may be proposed; a later one follows the one it replaces."""
    member = register.standing(register.author(statement).id)
    payload = cast(DraftPayload, statement.payload)
    before = register.drafts.get(payload.previous) if payload.previous is not None else None
    if payload.previous is not None and (before is None or before.kind != payload.kind):
        raise Refused("a draft follows a logged draft of the same kind", value=payload.previous, allowed=", ".join(register.drafts) or "none is logged yet")
    register.drafts[statement.id] = Draft(statement.id, member.id, payload.kind, payload.subject, payload.previous, payload.reasons)


def open_proposal(register: Register, statement: Statement) -> None:
    """Open a proposal whose rules and roll are those of this log position."""
    payload = cast(ProposalOpened, statement.payload)
    rules = register.bylaws.rules(payload.kind)
    sponsors = _sponsors(register, statement, payload.motion)
    register.require_recent(statement)
    if payload.rules != rules:
        raise Refused("a proposal copies the rules of the bylaws in force", value=payload.rules.model_dump(), allowed=str(rules.model_dump()))
    if len(sponsors) < rules.sponsors:
        raise Refused(
            Sentence("too few members sponsor this proposal"),
            value=len(sponsors),
            allowed=Sentence("{count} signatures of distinct members", count=rules.sponsors),
        )
    open_now = sum(one.proposer == statement.author and one.closed is None for one in register.proposals.values())
    if open_now >= register.bylaws.open_proposals:
        raise Refused(Sentence("you have as many proposals open as one member may have"), value=open_now, allowed=str(register.bylaws.open_proposals))
    roll = register.roll(payload.kind)
    if payload.roll.members != len(roll) or payload.roll.root != tally.roll_root(roll):
        raise Refused(
            "a proposal's roll is that of its log position",
            value=payload.roll.members,
            allowed=Sentence("{count} members; open the proposal again", count=len(roll)),
        )
    earliest = shift(statement.issued, rules.minimum_period_s)
    if payload.closes < earliest:
        raise Refused(Sentence("a proposal stays open for the minimum period"), value=payload.closes, allowed=Sentence("{when} or later", when=earliest))
    latest = shift(statement.issued, rules.maximum_period_s)
    if payload.closes > latest:
        raise Refused("a proposal stays open for the maximum period at most", value=payload.closes, allowed=Sentence("{when} or earlier", when=latest))
    if payload.kind != "run" and payload.uses != 1:
        raise Refused("only an approval of a run is used more than once", value=payload.uses, allowed="1")
    _check_draft(register, payload)
    _check_motion(register, payload)
    recalls.check_superseded(register, payload)
    before = next(reversed(register.proposals.values()), None)
    register.proposals[statement.id] = Proposal(
        id=statement.id,
        kind=payload.kind,
        subject=payload.subject,
        rules=rules,
        roll=before.roll if before is not None and before.roll_root == payload.roll.root else frozenset(roll),  # kept once for votes of the same members
        roll_root=payload.roll.root,
        community=None if register.exited is None else frozenset(roll) - register.founders,
        proposer=statement.author,
        sponsors=sponsors,
        opened=register.size,
        issued=statement.issued,
        closes=payload.closes,
        uses=payload.uses,
        motion=payload.motion,
        draft=payload.draft,
        supersedes=tuple(payload.supersedes),
        reasons=payload.reasons,
    )


def _sponsors(register: Register, statement: Statement, motion: Motion | None) -> tuple[str, ...]:
    """Return the members who signed, the author among them; a motion that enrols a key also bears that key's signature."""
    signers = statement.signers
    line = motion.key if isinstance(motion, Admit) else motion.operator if isinstance(motion, ChangeOperator) else None
    if line is not None:
        new = fresh(register, line)
        if new not in signers:
            raise Refused("a motion about a new key is signed by that key too (proof of possession)", value=line[:40])
        signers = signers - {new}
    # A suspended member may ask for one thing: the end of their own suspension.
    own = isinstance(motion, AppealAgainst) and register.member(statement.author).suspended_by == motion.against
    return register.cosigners(statement, signers, suspended_author=own)


def _check_draft(register: Register, payload: ProposalOpened) -> None:
    if payload.draft is None:
        return
    drafted = register.drafts.get(payload.draft)
    if drafted is None or (drafted.kind, drafted.subject) != (payload.kind, payload.subject):
        raise Refused("the draft named is not of what is proposed", value=payload.draft, allowed="the last version: the same kind and subject")


def _check_motion(register: Register, payload: ProposalOpened) -> None:
    """Refuse a motion that does not fit its kind, is not the subject, or could not take effect as things stand."""
    motion = payload.motion
    if (motion is None) == (payload.kind in MOTIONS) or (motion is not None and motion.kind != payload.kind):
        raise Refused(f"a proposal of kind {payload.kind} has {'a motion of that kind' if payload.kind in MOTIONS else 'no motion'}")
    if motion is None:
        return
    if payload.subject != subject_of(motion):
        raise Refused("a proposal with a motion is about that motion's digest", value=payload.subject, allowed=subject_of(motion))
    effects.check(register, motion)

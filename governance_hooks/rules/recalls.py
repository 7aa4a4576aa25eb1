"""Rules of releases that are out: a later one supersedes them by its vote, stewards withdraw one for a limited time, members for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from governance_hooks.errors import Refused
from governance_hooks.motions import Recall
from governance_hooks.payloads.proposals import ProposalOpened
from governance_hooks.payloads.releases import ReleaseStatus
from governance_hooks.state.proposals import Proposal
from governance_hooks.state.releases import Mark, Stewards
from governance_hooks.statement import shift

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["check", "check_superseded", "recall", "require_stewards", "state_status", "stewards_now", "went_out"]


def check_superseded(register: Register, payload: ProposalOpened) -> None:
    """Refuse a proposal that would supersede what is no release, or is no proposal of one."""
    if payload.supersedes and payload.kind != "release":
        raise Refused("only a release takes the place of another", value=payload.kind, allowed="supersedes: []")
    if payload.supersedes != sorted(set(payload.supersedes)):
        raise Refused("the releases it supersedes are listed once each, sorted", value=payload.supersedes)
    for one in payload.supersedes:
        _require_out(register, one)
        if one == payload.subject:
            raise Refused("a release does not supersede itself", value=one)


def stewards_now(register: Register) -> Stewards:
    """Return the stewards of the bylaws in force who are in good standing, with their keys."""
    standing = set(register.active()) & set(register.bylaws.stewards)
    named = len(set(register.bylaws.stewards))
    return Stewards({one: frozenset(register.members[one].keys) for one in sorted(standing)}, register.bylaws.stewards_required, named)


def went_out(register: Register, release: str, proposal: Proposal, statement: Statement) -> None:
    """Supersede what the vote on a release named, and keep who were stewards: what they sign about it is judged by that."""
    register.stewards[release] = stewards_now(register)
    for one in proposal.supersedes:
        made = Mark(f"{proposal.id}/{one}", one, "superseded", release, None, statement.issued, None, by_members=True)
        register.marks[made.id] = made


def require_stewards(register: Register, statement: Statement) -> frozenset[str]:
    """Return the stewards who signed a statement, its author among them; refuse other signers, and too few.

    Members are counted, by their raw keys: two keys of one steward are one steward.
    """
    allowed, owners = set(register.bylaws.stewards), set[str]()
    for signer in statement.signers:
        owner = register.holder(signer)
        if owner is None or owner not in allowed:
            raise Refused(
                f"{statement.type} is signed by somebody who is no steward",
                value=register.known_keys.get(signer, "a key nobody enrolled"),
                allowed=", ".join(sorted(allowed)) or "nobody: the bylaws name no stewards",
                next="members can withdraw a release: coop propose recall RELEASE" if not allowed else None,
            )
        owners.add(owner)
    if len(owners) < register.bylaws.stewards_required or statement.author not in owners:
        raise Refused("too few stewards signed this", value=len(owners), allowed=f"{register.bylaws.stewards_required}, the author among them")
    register.require_community(owners)
    return frozenset(owners)


def state_status(register: Register, statement: Statement) -> None:
    """Record that stewards withdraw a release, once and for a limited time, or say which later release takes its place."""
    register.require_recent(statement)
    payload = cast(ReleaseStatus, statement.payload)
    require_stewards(register, statement)
    _require_out(register, payload.release)
    earlier = [one for one in register.marks.values() if one.release == payload.release]
    until = None
    if payload.status == "withdrawn":
        if payload.by is not None:
            raise Refused("a withdrawn release has no successor in the same statement", value=payload.by, allowed="by: null; or status superseded")
        before = next((one for one in earlier if one.status == "withdrawn" and not one.by_members), None)
        if before is not None:
            raise Refused(
                "the stewards have withdrawn this release before: only members can prolong or renew it",
                value=before.id,
                next="coop propose recall RELEASE --ratifies WITHDRAWAL",
            )
        until = shift(statement.issued, register.bylaws.withdrawal_max_s)
    else:
        _require_later(register, payload.release, payload.by)
        if any(one.by == payload.by and one.stands(register.operator_clock) for one in earlier):
            raise Refused("that release supersedes this one already", value=payload.by)
    register.marks[statement.id] = Mark(statement.id, payload.release, payload.status, payload.by, payload.reason, statement.issued, until, by_members=False)


def check(register: Register, motion: Recall) -> None:
    """Refuse a recall that could not take effect as things stand."""
    _require_out(register, motion.release)
    if motion.ratifies is None:
        return
    found = register.marks.get(motion.ratifies)
    if found is None or found.by_members or found.lifted or (found.release, found.status) != (motion.release, "withdrawn"):
        raise Refused("the stewards made no such withdrawal of this release, or an appeal ended it", value=motion.ratifies)


def recall(register: Register, proposal: str, motion: Recall) -> None:
    """Withdraw a release by the members' decision, or make the stewards' withdrawal of it stand."""
    if motion.ratifies is None:
        made = Mark(proposal, motion.release, "withdrawn", None, motion.reason, register.operator_clock, None, by_members=True)
        register.marks[made.id] = made
        return
    ratified = register.marks[motion.ratifies]
    ratified.until, ratified.ratified = None, True


def _require_out(register: Register, release: str) -> None:
    if release not in register.releases:
        raise Refused("the log holds no such release", value=release, allowed=", ".join(register.releases) or "none is out yet")


def _require_later(register: Register, release: str, by: str | None) -> None:
    """Refuse a successor that members never released, or that went out before."""
    order = list(register.releases)
    if by is None or by not in register.releases or order.index(by) <= order.index(release):
        raise Refused(
            "a release is superseded by one that went out after it", value=by, allowed=", ".join(order[order.index(release) + 1 :]) or "none is out after it"
        )

"""Proposals: what is asked, explained and drawn; what changed since its drafts; what members say; the vote, the result and the dissent."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Query, Response
from starlette.exceptions import HTTPException

from governance_hooks.bylaws import Bylaws
from governance_hooks.errors import BadInput, Refused
from governance_hooks.motions import AmendBylaws, Consult
from governance_hooks.preferences import approvals
from governance_hooks.register import Register
from governance_hooks.rules.closing import consult
from governance_hooks.state.proposals import Proposal, Vote
from portal import i18n, reasons
from portal.bylaws_words import changes_in_words, rules_in_words
from portal.diffs import Piece, line_changes
from portal.i18n import ngettext
from portal.motion_words import motion_in_words
from portal.opinion.page import Deliberation, deliberation_of, in_short, map_shown
from portal.plan_words import pictures_of, plan_in_words
from portal.proposal_rows import Row, by_end, row_of, rows_of
from portal.service import Service
from portal.signing.drafting import draft, signing_path
from portal.signing.kinds import AT_ONCE, ERASURE
from portal.store.remarks import STANCES
from portal.visit import Here, Visit

__all__ = ["Digest", "find", "router"]

router = APIRouter(include_in_schema=False)

Digest = Annotated[str, Path(pattern=r"^sha256:[0-9a-f]{64}$")]
PAGE = 50
HEARD = 20
"""Ballots on a proposal's own page, those with reasons first; the others are on pages of their own."""
ROLL_CALL = 200
"""Ballots on each of those."""


def find(register: Register, identifier: str) -> Proposal:
    """Return a proposal; no page for anything else."""
    found = register.proposals.get(identifier)
    if found is None:
        raise HTTPException(404)
    return found


@router.get("/proposals")
def proposals(visit: Here, page: Annotated[int, Query(ge=1, le=10_000)] = 1) -> Response:
    """List open votes, then what was decided, newest first."""
    with visit.register() as register:
        everything = list(register.proposals.values())
        running = visit.service.view.running()
        decided = [one for one in everything if one.closed is not None]
        shown = decided[max(0, len(decided) - page * PAGE) : len(decided) - (page - 1) * PAGE]
        open_rows = rows_of(visit.service, by_end(running)[:200], visit.member) if page == 1 else []
        rows = rows_of(visit.service, reversed(shown), visit.member)
    return visit.page("proposals.html", open_rows=open_rows, rows=rows, page=page, more=len(decided) > page * PAGE)


@dataclass(frozen=True, slots=True)
class Cast:
    """A ballot in the public roll call."""

    member: str
    choice: str
    ballot: str
    reason: str | None


def _cast(service: Service, member: str, vote: Vote) -> Cast:
    choice = vote.choice or (in_short(vote.answers) if vote.answers else " › ".join(str(option + 1) for option in vote.options))
    return Cast(member, choice, vote.ballot, service.house.reason(vote.reason) if vote.reason else None)


@router.get("/proposals/{identifier}")
def proposal(visit: Here, identifier: Digest) -> Response:
    """Show everything about a proposal."""
    service = visit.service
    with visit.register() as register:
        found = find(register, identifier)
        row = row_of(service, found, visit.member)
        vote = found.votes.get(visit.member or "")
        plan = service.house.plans().get(found.subject) if found.kind == "run" else None
        cast = [_cast(service, member, found.votes[member]) for member in service.view.heard(found, HEARD)]
        objections = [(member, service.house.reason(reason) if reason else None) for member, reason in itertools.islice(found.objections.items(), ROLL_CALL)]
        may_object = (
            found.tally is not None
            and found.tally.approved
            and found.rules.objections is not None
            and visit.member in found.roll
            and visit.member not in found.objections
            and service.clock() < found.due()
        )
        values: dict[str, Any] = {
            "proposal": found,
            "row": row,
            "vote": vote,
            "mine": service.house.reason(vote.reason) if vote and vote.reason else None,
            "cast": cast,
            "voted": len(found.votes),
            "objections": objections,
            "may_object": may_object,
            "rules": rules_in_words(found.rules),
            "needed": _so_far(found, row),
            "question": _question(service, found),
            "asked": deliberation_of(service, found, visit.member),
            "amendment": _amendment(register, found),
            "changes": _changes(register, found),
            "lines": motion_in_words(service, register, found.motion),
            "reasons": service.house.reason(found.reasons) if found.reasons else None,
            "thing": plan.name if plan else _folder(service, found),
        }
    asked: Deliberation | None = values["asked"]
    shown = map_shown(service, identifier, asked, visit.member) if asked else None
    remarks = service.private.remarks.of(identifier)
    if plan:
        values["lines"] = plan_in_words(plan, starts=found.uses)
    if values["reasons"] is not None:
        values["read"] = reasons.shown(values["reasons"])  # outside of the register: the first reader waits for it, and nobody else
    return visit.page(
        "proposal.html",
        pictures=pictures_of(plan, starts=found.uses) if plan else [],
        plan=plan,
        remarks=remarks,
        shown=shown,
        stances=STANCES,
        now=service.clock(),
        **values,
    )


def _folder(service: Service, found: Proposal) -> str | None:
    folder = service.house.releases().get(found.subject) if found.kind == "release" else None
    return folder.name if folder else None


def _so_far(found: Proposal, row: Row) -> str:
    """Return how many voted and how many have to, while the vote is open: a quorum is not missed before the end."""
    count, roll, percent = row.tally.cast, len(found.roll), found.rules.quorum_percent
    least = -(-roll * percent // 100)
    said = ngettext("So far %(num)s of %(roll)s has voted.", "So far %(num)s of %(roll)s have voted.", count) % {
        "num": i18n.number(count),
        "roll": i18n.number(roll),
    }
    if found.rules.quorum != "participation" or found.rules.abstain == "nothing":
        return said
    needed = ngettext("At least %(num)s has to, for it to count.", "At least %(num)s have to, for it to count.", least) % {"num": i18n.number(least)}
    return f"{said} {needed}"


@dataclass(frozen=True, slots=True)
class Question:
    """A consultation of options, with its texts."""

    text: str
    method: str
    options: list[tuple[str, int, bool]]
    """Text, how many named it, and whether no other is preferred to it."""


def _question(service: Service, found: Proposal) -> Question | None:
    motion = found.motion
    if not isinstance(motion, Consult) or motion.method == "opinions":
        return None
    named = approvals([vote.options for vote in found.votes.values()], len(motion.options))
    winners = list(found.winners) if found.winners is not None else consult(found)[2]
    texts = [service.house.text(one) or i18n.gettext("(the text is not here)") for one in motion.options]
    question = service.house.text(motion.question) or i18n.gettext("(the text is not here)")
    return Question(question[:20_000], motion.method, [(text[:4000], named[number], number in winners) for number, text in enumerate(texts)])


def _amendment(register: Register, found: Proposal) -> tuple[list[Piece], bool] | None:
    """Return what an amendment changes in the bylaws in force; None for anything else, or when it is in force."""
    if not isinstance(found.motion, AmendBylaws) or found.enacted is not None:
        return None
    return line_changes(_bylaws(register.bylaws), _bylaws(found.motion.bylaws))


def _changes(register: Register, found: Proposal) -> list[str]:
    """Return in plain words what an amendment changes in the bylaws in force."""
    if not isinstance(found.motion, AmendBylaws) or found.enacted is not None:
        return []
    return changes_in_words(register.bylaws, found.motion.bylaws)


def _bylaws(one: Bylaws) -> list[str]:
    return json.dumps(one.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False).splitlines()


@router.get("/proposals/{identifier}/ballots")
def ballots(visit: Here, identifier: Digest, page: Annotated[int, Query(ge=1, le=100_000)] = 1) -> Response:
    """Show the roll call: every ballot that counts, with its reason and its proof, in the order in which members first voted."""
    service = visit.service
    with visit.register() as register:
        found = find(register, identifier)
        row = row_of(service, found, visit.member)
        votes = list(itertools.islice(found.votes.items(), (page - 1) * ROLL_CALL, page * ROLL_CALL))
        cast = [_cast(service, member, vote) for member, vote in votes]
        values: dict[str, Any] = {"row": row, "cast": cast, "voted": len(found.votes), "roll": len(found.roll), "more": len(found.votes) > page * ROLL_CALL}
    return visit.page("ballots.html", page=page, **values)


@router.get("/proposals/{identifier}/why")
def why(visit: Here, identifier: Digest) -> Response:
    """Show what blocks the run or release a proposal is about, and what would unblock it."""
    service = visit.service
    account = visit.signed_in()
    if not service.limits.allows("dry", account.account):
        raise HTTPException(429)
    with visit.register() as register:
        found = find(register, identifier)
        row = row_of(service, found, visit.member)
        plan = service.house.plans().get(found.subject)
        thing = plan.name if plan and found.kind == "run" else _folder(service, found)
    report = service.house.why(thing) if thing else None
    return visit.page("why.html", row=row, thing=thing, report=report)


@router.post("/proposals/{identifier}/remarks")
def remark(visit: Here, identifier: Digest, text: Annotated[str, Form(max_length=8000)], stance: Annotated[str, Form(max_length=20)]) -> Response:
    """Say something about a proposal."""
    service = visit.service
    with visit.register() as register:
        member = visit.as_member(register)
        if register.suspended(member):
            raise Refused(i18n.gettext("a suspended member cannot speak here"))
        find(register, identifier)
    if not service.limits.allows("remark", member.id):
        raise HTTPException(429)
    service.private.remarks.say(identifier, member.id, stance, text.replace("\r\n", "\n").strip())
    return visit.go(f"/proposals/{identifier}")


@router.post("/proposals/{identifier}/remarks/{number}/erase")
def unsay(visit: Here, identifier: Digest, number: Annotated[str, Path(pattern=r"^[0-9a-f]{24}$")]) -> Response:
    """Erase one's own remark."""
    with visit.register() as register:
        member = visit.as_author(register).id
    visit.service.private.remarks.erase(number, member)
    return visit.go(f"/proposals/{identifier}")


@router.post("/proposals/{identifier}/reasons/erase")
def erase_reasons(visit: Here, identifier: Digest) -> Response:
    """Erase the reasons one proposed something with, in every version of them that is one's own."""
    with visit.register() as register:
        member = visit.as_author(register).id
        found = find(register, identifier)
        if found.reasons is None or found.proposer != member:
            raise BadInput(i18n.gettext("there are no reasons of yours"))
        kept, at = {found.reasons}, found.draft
        while at is not None:
            version = register.drafts[at]
            kept |= {version.reasons} if version.reasons and version.author == member else set()
            at = version.previous
        return _erase(visit, register, identifier, *kept)


@router.post("/proposals/{identifier}/reason/erase")
def erase_reason(visit: Here, identifier: Digest) -> Response:
    """Erase the reason one gave with a ballot; its salted fingerprint in the log then says nothing."""
    with visit.register() as register:
        member = visit.as_author(register).id
        vote = find(register, identifier).votes.get(member)
        if vote is None or vote.reason is None:
            raise BadInput(i18n.gettext("there is no reason of yours"))
        return _erase(visit, register, identifier, vote.reason)


def _erase(visit: Visit, register: Register, identifier: str, *named: str) -> Response:
    """Erase what somebody wrote, of the reasons that statements of theirs name: a statement may name what somebody else wrote. Who left signs it."""
    member = visit.as_author(register).id
    own = sorted(one for one in named if visit.service.view.reasons[one].author == member)
    if not own:
        raise Refused(i18n.gettext("somebody else wrote this, and they alone erase it"))
    if visit.standing == "left":
        made = draft(visit.service, register, ERASURE, {"records": [], "reasons": own[:AT_ONCE]}, member, go="/mine")
        return visit.go_sign(signing_path(made, member))
    for one in own:
        visit.service.house.erase_reason(one)
    reasons.forget()
    return visit.go(f"/proposals/{identifier}")

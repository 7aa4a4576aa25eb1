"""Proposals and their results for programs: what was asked, by which rules, who voted how, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from governance_hooks.register import Register
from governance_hooks.state.proposals import Proposal as State
from portal.api.asking import ByDigest, Count, Program, Shape, Start, answered, kept, nothing_here, page_of, raw
from portal.api.log import Digest, Position
from portal.api.members import Name
from portal.proposal_rows import title_of
from portal.public import KEPT
from portal.service import Service

__all__ = ["router"]

router = APIRouter(prefix="/proposals", tags=["proposals"])

Standing = Literal["open", "ended", "approved", "rejected", "answered"]


class Result(Shape):
    """The count: of the ballots so far, or of all of them once the vote is closed."""

    votes_for: Annotated[int, Field(ge=0)]
    votes_against: Annotated[int, Field(ge=0)]
    votes_abstain: Annotated[int, Field(ge=0)]
    may_vote: Annotated[int, Field(ge=0, description="Members on the roll, which was frozen when the vote opened.")]
    approved: Annotated[bool, Field(description="Whether it is approved by this count; final only once `standing` is `approved` or `rejected`.")]
    why: Annotated[str, Field(description="The count in words.")]


class Proposal(Shape):
    """A vote."""

    proposal: Annotated[Digest, Field(description="The statement that opened it.")]
    kind: Annotated[str, Field(description="What kind of decision it is.", examples=["run", "release", "bylaws", "consultation"])]
    title: str
    subject: Annotated[Digest, Field(description="What is decided, by digest: of a plan, a release, or the motion.")]
    proposer: Annotated[str, Field(description="A member's pseudonym.")]
    sponsors: list[Name]
    opened: Position
    issued: Annotated[str, Field(description="RFC 3339 UTC.")]
    closes: Annotated[str, Field(description="Until when ballots are taken, RFC 3339 UTC; a late quorum may prolong it.")]
    standing: Annotated[Standing, Field(description="`ended`: its time is over and the operator has not closed it yet.")]
    closed: Annotated[int | None, Field(description="Entry that closed it; null while it is not closed.")]
    result: Annotated[Result | None, Field(description="Null for a consultation, which is answered, not approved.")]
    winners: Annotated[list[int] | None, Field(description="Of a closed consultation: the options to which no other is preferred, from 0.")]
    objections: Annotated[int, Field(ge=0, description="Members who objected after the approval.")]
    effective: Annotated[str | None, Field(description="From when an approval may be used, RFC 3339 UTC.")]
    rules: Annotated[dict[str, Any], Field(description="The rules it is decided by, copied from the bylaws when it opened.")]
    reasons: Annotated[
        Digest | None, Field(description="The proposer's reasons, by salted digest: `/proposals/{proposal}/reasons`. Null where none were given.")
    ]
    motion: Annotated[dict[str, Any] | None, Field(description="What is moved, to the letter; null where `subject` is a document of its own.")]


class Reasons(Shape):
    """Why something was proposed. The answer is byte for byte what has the digest that the proposal names."""

    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="So that nobody can guess a text that was erased.")]
    text: Annotated[str, Field(description="Markdown, as its author wrote it: hostile until you made it harmless.")]


class Proposals(Shape):
    """A part of the votes."""

    total: Annotated[int, Field(ge=0)]
    proposals: list[Proposal]
    next: Annotated[int | None, Field(description="`start` of the next page; null after the last.")]


class Ballot(Shape):
    """A counted ballot: the last one of this member. Reasons are not in the log, and not here."""

    member: Name
    choice: Annotated[Literal["for", "against", "abstain"] | None, Field(description="Null for an answer to a consultation.")]
    options: Annotated[list[int], Field(description="The answer to a consultation: options from 0, best first where they are ranked.")]
    answers: Annotated[
        list[Literal["agree", "disagree", "pass"]], Field(description="The answer to a consultation of statements: one for each, in their order.")
    ]
    ballot: Annotated[Digest, Field(description="The statement: `/log/statements/{statement}` has it with its signature.")]


class Ballots(Shape):
    """A part of the roll call."""

    total: Annotated[int, Field(ge=0, description="Members who voted.")]
    ballots: list[Ballot]
    next: Annotated[int | None, Field(description="`start` of the next page; null after the last.")]


def _standing(found: State, now: str) -> Standing:
    if found.closed is None:
        return "open" if now <= found.closes else "ended"
    if found.tally is None:
        return "answered"
    return "approved" if found.tally.approved and not found.contested() else "rejected"


def _shape(service: Service, found: State) -> Proposal:
    tally = None if found.kind == "consultation" else service.view.tally(found)
    standing = _standing(found, service.clock())
    return Proposal(
        proposal=found.id,
        kind=found.kind,
        title=title_of(service, found)[:300],
        subject=found.subject,
        proposer=found.proposer,
        sponsors=list(found.sponsors),
        opened=found.opened,
        issued=found.issued,
        closes=found.closes,
        standing=standing,
        closed=found.closed,
        result=None
        if tally is None
        else Result(
            votes_for=tally.votes_for,
            votes_against=tally.votes_against,
            votes_abstain=tally.votes_abstain,
            may_vote=tally.roll,
            approved=tally.approved,
            why=tally.why,
        ),
        winners=None if found.winners is None else list(found.winners),
        objections=len(found.objections),
        effective=found.due() if standing == "approved" else None,
        rules=found.rules.model_dump(mode="json"),
        reasons=found.reasons,
        motion=None if found.motion is None else found.motion.model_dump(mode="json"),
    )


def _find(register: Register, identifier: str) -> State:
    found = register.proposals.get(identifier)
    if found is None:
        raise nothing_here("there is no such vote")
    return found


@router.get("", response_model=Proposals, responses=answered())
def proposals(
    visit: Program,
    start: Start = 0,
    limit: Count = 50,
    closed: Annotated[bool | None, Query(description="Only votes that are closed (`true`), or only those that are not (`false`).")] = None,
) -> Response:
    """Return votes in the order in which they were opened."""
    with visit.register() as register:
        every = [one for one in register.proposals.values() if closed is None or (one.closed is not None) == closed]
        first, stop, after = page_of(start, limit, len(every))
        found = [_shape(visit.service, one) for one in every[first:stop]]
    return kept(visit, Proposals(total=len(every), proposals=found, next=after))


@router.get("/{proposal}", response_model=Proposal, responses=answered(404))
def proposal(visit: Program, proposal: ByDigest) -> Response:
    """Return one vote: what is asked, by which rules it is decided, and how it stands."""
    with visit.register() as register:
        found = _shape(visit.service, _find(register, proposal))
    return kept(visit, found)


@router.get("/{proposal}/reasons", response_model=Reasons, responses=answered(404))
def reasons(visit: Program, proposal: ByDigest) -> Response:
    """Return the proposer's reasons, raw: `sha256sum` of the answer is the digest in the proposal. They are here until their author erases them."""
    with visit.register() as register:
        found = _find(register, proposal).reasons
        named = visit.service.view.reasons.get(found or "")
        data = visit.service.house.reason_document(found) if found and named and named.proposed else None
    if data is None:
        raise nothing_here("there are no reasons here: none were given, or their author erased them")
    return raw(visit, data, "application/json", how=KEPT)


@router.get("/{proposal}/ballots", response_model=Ballots, responses=answered(404))
def ballots(visit: Program, proposal: ByDigest, start: Start = 0, limit: Count = 50) -> Response:
    """Return who voted how, by pseudonym: the roll call, of which the count can be made again."""
    with visit.register() as register:
        votes = list(_find(register, proposal).votes.items())
        first, stop, after = page_of(start, limit, len(votes))
        found = [
            Ballot(member=member, choice=vote.choice or None, options=list(vote.options), answers=list(vote.answers), ballot=vote.ballot)  # type: ignore[arg-type]
            for member, vote in votes[first:stop]
        ]
    return kept(visit, Ballots(total=len(votes), ballots=found, next=after))

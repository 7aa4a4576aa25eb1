"""Who is in the cooperative, and what they took back: only what the public log says."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from governance_hooks.register import Register
from governance_hooks.sshsig import PublicKey
from portal.api.asking import Count, Program, Shape, Start, answered, kept, page_of
from portal.api.log import Digest, Position

__all__ = ["router"]

router = APIRouter(tags=["members"])

Name = Annotated[str, Field(pattern=r"^m-[0-9a-f]{16}$", description="A pseudonym, drawn at random.", examples=["m-0000000000000001"])]


class Member(Shape):
    """A member, as the log knows them: a pseudonym and public keys. Names and addresses are in no answer of this API."""

    member: Name
    joined: Position
    left: Annotated[int | None, Field(description="Entry with which they left; null while they are a member.")]
    suspended_until: Annotated[str | None, Field(description="RFC 3339 UTC; null if they are not suspended.")]
    keys: Annotated[list[str], Field(description="Public keys in force, as OpenSSH writes them.")]


class Members(Shape):
    """A part of the register."""

    total: Annotated[int, Field(ge=0, description="Everybody who was ever admitted.")]
    active: Annotated[int, Field(ge=0, description="Members in good standing: each has one vote.")]
    declined: Annotated[
        int, Field(ge=0, description="Requests to join that a registrar declined. Whose, the log does not say; some may have been granted by others since.")
    ]
    members: list[Member]
    next: Annotated[int | None, Field(description="`start` of the next page; null after the last.")]


class Withdrawal(Shape):
    """What one entry of the log ended."""

    index: Position
    statement: Digest
    issued: Annotated[str, Field(description="RFC 3339 UTC.")]
    member: Name
    why: Annotated[Literal["withdrawal", "leave"], Field(description="Whether the member took consents back, or left, which ends all of theirs.")]
    consents: Annotated[list[Digest], Field(description="The consents that ended. A line of a dataset's ledger names the consents it stands on.")]


class Withdrawals(Shape):
    """What members took back, in the order of the log."""

    size: Annotated[int, Field(ge=0, description="Entries in the log now: the list is complete up to here.")]
    withdrawals: list[Withdrawal]
    next: Annotated[int | None, Field(description="`start` of the next page; null after the last.")]


@router.get("/members", response_model=Members, responses=answered())
def members(visit: Program, start: Start = 0, limit: Count = 50) -> Response:
    """Return the register of members in the order in which they joined."""
    with visit.register() as register:
        everybody = sorted(register.members.values(), key=lambda one: (one.joined, one.id))
        first, stop, after = page_of(start, limit, len(everybody))
        found = [
            Member(
                member=one.id,
                joined=one.joined,
                left=one.left,
                suspended_until=one.suspended_until if register.suspended(one) else None,
                keys=[PublicKey.from_raw(raw).line for raw in sorted(one.keys)] if one.left is None else [],
            )
            for one in everybody[first:stop]
        ]
        return kept(
            visit,
            Members(total=len(everybody), active=len(register.active()), declined=visit.service.view.declined["admission"], members=found, next=after),
        )


def _ended(register: Register) -> list[tuple[int, str, list[str]]]:
    """Return log position, member and consents of everything that ended consents, in the order of the log."""
    found: dict[tuple[int, str], list[str]] = {}
    for member, grants in register.grants.items():
        for grant in grants:
            if grant.withdrawn is not None:
                found.setdefault((grant.withdrawn, member), []).append(grant.id)
    return [(position, member, consents) for (position, member), consents in sorted(found.items())]


@router.get("/withdrawals", response_model=Withdrawals, responses=answered())
def withdrawals(visit: Program, start: Start = 0, limit: Count = 50) -> Response:
    """Return what members took back: the list to ask for before you use a copy of a dataset again.

    Strike from your copy every record of which the ledger names a consent in this list, unless a newer build, made after `size` entries
    of the log, has it still. The address stays as it is; the list only grows.
    """
    with visit.register() as register:
        size, ended = register.size, _ended(register)
    first, stop, after = page_of(start, limit, len(ended))
    found = []
    for position, member, consents in ended[first:stop]:
        made = visit.service.view.entry(position)
        why: Literal["withdrawal", "leave"] = "leave" if made.type == "coop.leave/v1" else "withdrawal"
        found.append(Withdrawal(index=position, statement=made.id, issued=made.issued, member=member, why=why, consents=consents))
    return kept(visit, Withdrawals(size=size, withdrawals=found, next=after))

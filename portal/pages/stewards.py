"""Stewards: registrars who admit, guardians and registrars who help with lost keys, the oversight body, which halts, and the queue of flagged texts. Each act is signed."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Form, Path, Response
from starlette.exceptions import HTTPException

from governance_hooks.errors import BadInput, Refused
from governance_hooks.register import Register
from governance_hooks.requests import ABOUT, REASONS, Opening
from governance_hooks.rules.halts import HALTABLE, halted_before
from governance_hooks.sshsig import PublicKey
from governance_hooks.state.membership import Declined
from governance_hooks.state.proposals import Proposal
from governance_hooks.statement import shift
from portal import i18n
from portal.log_words import reason_in_words
from portal.pages.review import flags_in_words
from portal.proposal_rows import row_of, rows_of
from portal.reading import readable
from portal.signing.drafting import draft, signing_path
from portal.signing.kinds import needed, new_key, signers
from portal.signing.requests import declined
from portal.store.drafted import Drafted
from portal.visit import Here

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]

FLAGGED, ENDED = 50, 50
"""Texts on the page of those that reviewers flagged; halts that are over."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, for whoever may agree to it."""

    drafted: Drafted
    fingerprint: str
    signed: tuple[str, ...]
    need: int
    path: str
    """Where it is signed."""
    mine: bool
    """Whether the member signed it."""
    declined: Declined | None


@router.get("/stewards/admissions")
def admissions(visit: Here) -> Response:
    """Show who asks to join, or for a new key, whose signatures are there, what was declined, which can still be agreed to, and how much by whom."""
    with visit.register() as register:
        member = visit.as_member(register).id
        rows = [
            found
            for kind in ABOUT
            for one in visit.service.private.drafts.open(kind=kind)
            if (member in register.bylaws.registrars or (kind == "coop.recovery/v1" and member in register.members[one.author].guardians))
            and (found := _asked(register, one, member)) is not None
        ]
        registrar = member in register.bylaws.registrars and not register.suspended(register.members[member])
        so_far = defaultdict[str, Counter[str]](Counter)
        for one in register.declined.values():
            so_far[one.registrar][one.about] += 1
    rows.sort(key=lambda one: one.declined is not None)  # what waits comes first; otherwise they stay as they are
    by_most = sorted(so_far.items(), key=lambda one: (-one[1].total(), one[0]))
    return visit.page("admissions.html", rows=rows, registrar=registrar, so_far=by_most, reasons={one: reason_in_words(one) for one in REASONS})


def _asked(register: Register, one: Drafted, member: str) -> Asked | None:
    """Return a request as a member may agree to it; None while its own key has not signed it."""
    value = one.value
    brought, signed = new_key(value), tuple(signers(register, value, one.body, one.signatures))
    if "new key" not in signed or not isinstance(brought, PublicKey):
        return None
    return Asked(one, brought.fingerprint, signed, needed(register, value), signing_path(one, member), member in signed, declined(register, one))


@router.post("/stewards/admissions/{identifier}/decline")
def decline(visit: Here, identifier: Id, reason: Annotated[str, Form(max_length=40)] = "") -> Response:
    """Draft the statement that declines a request; whoever asked can ask again, and other registrars can agree all the same."""
    with visit.register() as register:
        member = visit.as_member(register).id
        found = visit.service.private.drafts.find(identifier)
        if member not in register.bylaws.registrars:
            raise Refused(i18n.gettext("registrars alone decline a request"))
        register.standing(member)
        about = ABOUT.get(found.kind) if found is not None and found.state == "open" else None
        if found is None or about is None or _asked(register, found, member) is None:
            raise Refused(i18n.gettext("nobody asks for this any more: it was granted, or taken back"), next=i18n.gettext("look at the requests again"))
        if declined(register, found) is not None:
            raise Refused(i18n.gettext("this request is declined already"))
        if reason not in REASONS:
            raise BadInput(i18n.gettext("a request is declined for one of the reasons on the page"))
        opening = Opening(salt=visit.service.private.drafts.salt(identifier), statement=found.digest)
        payload = {"request": opening.digest, "about": about, "reason": reason}
        made = draft(visit.service, register, "coop.decline/v1", payload, member, go="/stewards/admissions")
    return visit.go_sign(signing_path(made, member))


@router.get("/stewards/flags")
def flags(visit: Here) -> Response:
    """Show the texts that reviewers said something is wrong with, those most said so of first, to whoever holds an office."""
    with visit.register() as register:
        member = visit.as_officer(register).id
    if not visit.service.limits.allows("dry", member):
        raise HTTPException(429)
    store = visit.service.house.contributions()
    said, scores = defaultdict[str, Counter[str]](Counter), defaultdict[str, list[int]](list)
    for rating in store.reviews.ratings():
        scores[rating.record].append(rating.score)
        if rating.flags:
            said[rating.record].update(rating.flags)
    order = sorted(said, key=lambda one: (-said[one].total(), one))
    with visit.register() as register:
        now = visit.service.clock()
        found = {one.record: one for one in store.some(order[: 2 * FLAGGED]) if readable(register, one, now)}
    rows = [(found[one], said[one], scores[one]) for one in order if one in found][:FLAGGED]
    return visit.page("flags.html", rows=rows, words=flags_in_words())


@router.get("/stewards/halts")
def halts(visit: Here) -> Response:
    """Show what is halted, what the oversight body could halt, and the halts that are over."""
    with visit.register() as register:
        member = visit.as_member(register).id
        now = visit.service.clock()
        approved = [one for one in reversed(register.proposals.values()) if one.tally is not None and one.tally.approved and one.kind in HALTABLE]
        at_all = [register.proposals[one] for one in dict.fromkeys(one.proposal for one in reversed(register.halts.values()))]
        stopped = [one for one in at_all if one.tally is None or one.tally.approved]  # a vote can be halted before it is closed
        halted = [(row_of(visit.service, one, member), halt) for one in stopped if (halt := one.halted(now)) is not None]
        could = rows_of(visit.service, (one for one in approved if _could_be_halted(one, now)), member)
        ended = islice((one for one in reversed(register.halts.values()) if not one.stands(now)), ENDED)
        over = [(row_of(visit.service, register.proposals[one.proposal], member), one) for one in ended]
        mine = member in register.oversight()
        longest, required = register.bylaws.halt_max_s, register.bylaws.oversight_required
    return visit.page("halts.html", halted=halted, could=could, over=over, mine=mine, hours=longest // 3600, required=required)


def _could_be_halted(approved: Proposal, now: str) -> bool:
    """Tell whether the oversight body may halt an approval, and something is left of it to be halted: what was done by it is checked for ever."""
    if halted_before(approved) is not None or approved.halted(now) is not None or approved.contested():
        return False
    return approved.used > 0 or now < approved.expires()


@router.post("/stewards/halts")
def halt(visit: Here, proposal: Annotated[str, Form(pattern=r"^sha256:[0-9a-f]{64}$")], hours: Annotated[int, Form(ge=1, le=87_600)]) -> Response:
    """Draft a halt."""
    with visit.register() as register:
        member = visit.as_member(register).id
        register.proposal(proposal)
        payload = {"proposal": proposal, "until": shift(visit.service.clock(), hours * 3600)}
        made = draft(visit.service, register, "coop.halt/v1", payload, member, go=f"/proposals/{proposal}")
    return visit.go_sign(signing_path(made, member))

"""Stewards: registrars who admit, guardians and registrars who help with lost keys, the oversight body, which halts, and the queue of flagged texts. Each act is signed."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Path, Response
from starlette.exceptions import HTTPException

from governance_hooks.errors import BadInput, Refused
from governance_hooks.register import Register
from governance_hooks.requests import ABOUT, REASONS, Opening
from governance_hooks.sshsig import PublicKey
from governance_hooks.state.membership import Declined
from governance_hooks.statement import shift
from portal import i18n
from portal.log_words import reason_in_words
from portal.pages.review import flags_in_words
from portal.proposal_rows import rows_of
from portal.reading import readable
from portal.signing.drafting import draft, signing_path
from portal.signing.kinds import needed, new_key, signers
from portal.signing.requests import declined
from portal.store.drafted import Drafted
from portal.visit import Here

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]

FLAGGED = 50
"""Texts on the page of those that reviewers flagged."""


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
    """Show who asks to join, or for a new key, whose signatures are there, and what was declined, which can still be agreed to."""
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
    rows.sort(key=lambda one: one.declined is not None)  # what waits comes first; otherwise they stay as they are
    return visit.page("admissions.html", rows=rows, registrar=registrar, reasons={one: reason_in_words(one) for one in REASONS})


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
    """Show the approvals that can be halted, and the halts that stand."""
    with visit.register() as register:
        member = visit.as_member(register).id
        now = visit.service.clock()
        running = [one for one in register.proposals.values() if one.tally is not None and one.tally.approved and one.kind in ("run", "release")]
        rows = rows_of(visit.service, reversed(running), member)
        standing = {one.id: one.halted(now) for one in running}
        mine = member in register.oversight()
        longest, required = register.bylaws.halt_max_s, register.bylaws.oversight_required
    return visit.page("halts.html", rows=rows, standing=standing, mine=mine, hours=longest // 3600, required=required)


@router.post("/stewards/halts")
def halt(visit: Here, proposal: Annotated[str, Form(pattern=r"^sha256:[0-9a-f]{64}$")], hours: Annotated[int, Form(ge=1, le=87_600)]) -> Response:
    """Draft a halt."""
    with visit.register() as register:
        member = visit.as_member(register).id
        register.proposal(proposal)
        payload = {"proposal": proposal, "until": shift(visit.service.clock(), hours * 3600)}
        made = draft(visit.service, register, "coop.halt/v1", payload, member, go=f"/proposals/{proposal}")
    return visit.go_sign(signing_path(made, member))

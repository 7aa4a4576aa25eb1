"""Voting and objecting: from a choice on a page to the statement a key signs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response

from data_pipeline.text import text_problems
from governance_hooks.errors import BadInput, Refused
from governance_hooks.motions import Consult
from governance_hooks.preferences import ANSWERS
from governance_hooks.sentence import Sentence
from governance_hooks.state.proposals import Proposal
from portal import i18n
from portal.opinion.page import KIND
from portal.pages.proposals import Digest, find
from portal.service import Service
from portal.signing.drafting import draft, signing_path
from portal.visit import Here, Visit

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

Reason = Annotated[str, Form(max_length=8000)]
MAX_REASON_BYTES = 4000


def _reason(service: Service, text: str) -> str | None:
    """Keep a reason and return its fingerprint; None for none."""
    clean = text.replace("\r\n", "\n").strip()
    if not clean:
        return None
    for problem in text_problems(Sentence("the reason"), clean, MAX_REASON_BYTES):
        raise BadInput(problem.what, value=problem.value, allowed=problem.allowed)
    return service.house.keep_reason(clean)


def _open_to(visit: Visit, found: Proposal, member: str) -> None:
    if member not in found.roll:
        raise Refused(
            i18n.gettext("you may not vote on this"),
            next=i18n.gettext("who may vote was settled when the vote opened; you may vote in those that open after you joined"),
        )
    if found.closed is not None or visit.service.clock() > found.closes:
        raise Refused(i18n.gettext("this vote is closed"), value=found.closes)


@router.post("/proposals/{identifier}/vote")
def vote(visit: Here, identifier: Digest, choice: Annotated[str, Form(pattern=r"^(for|against|abstain)$")], reason: Reason = "") -> Response:
    """Draft a ballot."""
    with visit.register() as register:
        member = visit.as_member(register).id
        found = find(register, identifier)
        _open_to(visit, found, member)
        earlier = found.votes.get(member)
        payload = {"proposal": found.id, "choice": choice, "sequence": earlier.sequence + 1 if earlier else 1, "reason": _reason(visit.service, reason)}
        made = draft(visit.service, register, "coop.ballot/v1", payload, member)
    return visit.go_sign(signing_path(made, member))


@router.post("/proposals/{identifier}/answer")
async def answer(request: Request, visit: Here, identifier: Digest) -> Response:
    """Draft an answer to a consultation: the options that are ticked, those that have a rank, best first, or what one thinks of each statement."""
    fields = {name: str(value)[:8000] for name, value in (await request.form(max_fields=80)).items()}
    with visit.register() as register:
        member = visit.as_member(register).id
        found = find(register, identifier)
        _open_to(visit, found, member)
        if not isinstance(found.motion, Consult):
            raise BadInput(i18n.gettext("this is no consultation"))
        earlier = found.votes.get(member)
        payload: dict[str, Any] = {"proposal": found.id, "sequence": earlier.sequence + 1 if earlier else 1}
        kind = KIND if found.motion.method == "opinions" else "coop.preference/v1"
        said = {"answers": _answers(found.motion, fields)} if kind == KIND else {"options": _options(found.motion, fields)}
        made = draft(visit.service, register, kind, payload | said | {"reason": _reason(visit.service, fields.get("reason", ""))}, member)
    return visit.go_sign(signing_path(made, member))


def _answers(motion: Consult, fields: dict[str, str]) -> list[str]:
    said = [fields.get(f"answer-{number}", "") for number in range(len(motion.options))]
    if any(one not in ("", *ANSWERS) for one in said):
        raise BadInput(i18n.gettext("this is no answer to a statement"), value=next(one for one in said if one not in ANSWERS)[:20], allowed=", ".join(ANSWERS))
    if not any(said):
        raise BadInput(i18n.gettext("say what you think of one statement at least"), next=i18n.gettext("choose Pass if that is what you mean"))
    return [one or "pass" for one in said]


def _options(motion: Consult, fields: dict[str, str]) -> list[int]:
    chosen: list[tuple[int, int]] = []
    for number in range(len(motion.options)):
        text = fields.get(f"option-{number}", "").strip()
        if motion.method == "approval":
            chosen += [(number, number)] if text else []
        elif text:
            if not text.isascii() or not text.isdigit() or len(text) > 4 or not 1 <= int(text) <= len(motion.options):
                raise BadInput(i18n.gettext("a rank is a number"), value=text[:20], allowed=Sentence("{first} to {last}", first=1, last=len(motion.options)))
            chosen.append((int(text), number))
    ranks = [rank for rank, _ in chosen]
    if len(set(ranks)) != len(ranks):
        raise BadInput(i18n.gettext("two options have the same rank"), value=sorted(ranks), allowed=i18n.gettext("each rank once"))
    return [number for _, number in sorted(chosen)]


@router.post("/proposals/{identifier}/objection")
def object_to(visit: Here, identifier: Digest, reason: Reason = "") -> Response:
    """Draft an objection."""
    with visit.register() as register:
        member = visit.as_member(register).id
        found = find(register, identifier)
        if found.tally is None or not found.tally.approved or visit.service.clock() >= found.due():
            raise Refused(i18n.gettext("nobody can object now"), allowed=i18n.gettext("after an approval, until the time to object is over"))
        payload = {"proposal": found.id, "reason": _reason(visit.service, reason)}
        made = draft(visit.service, register, "coop.objection/v1", payload, member)
    return visit.go_sign(signing_path(made, member))

"""Proposing: a question to the members, or a vote on a plan or a release that lies in the cooperative's folder."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Response
from starlette.exceptions import HTTPException

from data_pipeline.text import text_problems
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.motions import Consult, subject_of
from governance_hooks.register import Register
from governance_hooks.sentence import Sentence
from portal import i18n
from portal.signing.drafting import draft, signing_path
from portal.visit import Here, Visit

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

MAX_QUESTION_BYTES, MAX_OPTION_BYTES, MAX_OPTIONS, MAX_STATEMENTS = 20_000, 1000, 20, 64


def _ready(visit: Visit, register: Register) -> tuple[dict[str, str], dict[str, str]]:
    """Return the plans and releases in the folder that no vote is open on, and no approval stands for: digest -> name."""
    taken = {one.subject for one in register.proposals.values() if one.closed is None or (one.tally is not None and one.tally.approved)}
    plans = {digest: plan.name for digest, plan in visit.service.house.plans().items() if digest not in taken and plan.coop == register.coop}
    return plans, {digest: folder.name for digest, folder in visit.service.house.releases().items() if digest not in taken}


@router.get("/propose")
def propose(visit: Here) -> Response:
    """Show what can be put to the vote."""
    with visit.register() as register:
        member = visit.as_member(register)
        register.standing(member.id)
        plans, releases = _ready(visit, register)
        shortest = register.bylaws.rules("consultation").minimum_period_s
        sponsors = {kind: register.bylaws.rules(kind).sponsors for kind in ("run", "release", "consultation")}
    return visit.page(
        "propose.html",
        plans=plans,
        releases=releases,
        span=i18n.span(shortest) if shortest else None,
        sponsors=sponsors,
        options=MAX_OPTIONS,
        statements=MAX_STATEMENTS,
    )


@router.post("/propose/file")
def propose_file(visit: Here, subject: Annotated[str, Form(pattern=r"^sha256:[0-9a-f]{64}$")]) -> Response:
    """Draft a proposal about a plan or a release."""
    with visit.register() as register:
        member = visit.as_member(register)
        register.standing(member.id)
        plans, releases = _ready(visit, register)
        if subject in plans:
            plan = visit.service.house.plans()[subject]
            payload = visit.service.house.proposal_payload("run", subject, uses=plan.limits.max_starts, motion=None)
        elif subject in releases:
            payload = visit.service.house.proposal_payload("release", subject, uses=1, motion=None)
        else:
            raise Refused(i18n.gettext("this is not to be put to the vote now"), value=subject, next=i18n.gettext("look at the list again"))
        made = draft(visit.service, register, "coop.proposal/v1", payload, member.id)
    return visit.go_sign(signing_path(made, member.id))


@router.post("/propose/question")
def ask(
    visit: Here,
    question: Annotated[str, Form(max_length=40_000)],
    options: Annotated[str, Form(max_length=80_000)],
    method: Annotated[Literal["approval", "ranked", "opinions"], Form()],
) -> Response:
    """Keep the texts of a question, which are public, and draft the consultation that names them by digest."""
    asked = question.replace("\r\n", "\n").strip()
    lines = [line.strip() for line in options.splitlines() if line.strip()]
    most = MAX_STATEMENTS if method == "opinions" else MAX_OPTIONS
    if not 2 <= len(lines) <= most or len(set(lines)) != len(lines):
        raise BadInput(
            i18n.gettext("a question has different options, one in each line"),
            value=len(lines),
            allowed=Sentence("{first} to {last}", first=2, last=most),
        )
    for name, text, longest in [(Sentence("the question"), asked, MAX_QUESTION_BYTES), *((Sentence("an option"), line, MAX_OPTION_BYTES) for line in lines)]:
        for problem in text_problems(name, text, longest):
            raise BadInput(problem.what, value=problem.value, allowed=problem.allowed)
    with visit.register() as register:
        member = visit.as_member(register)
        register.standing(member.id)
        if not visit.service.limits.allows("remark", member.id):
            raise HTTPException(429)
        for text in (asked, *lines):
            visit.service.house.keep_text(text.encode())
        motion = Consult(question=sha256(asked.encode()), options=[sha256(line.encode()) for line in lines], method=method)
        payload = visit.service.house.proposal_payload("consultation", subject_of(motion), uses=1, motion=motion)
        made = draft(visit.service, register, "coop.proposal/v1", payload, member.id)
    return visit.go_sign(signing_path(made, member.id))

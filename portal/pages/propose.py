"""Proposing: a question to the members, or a vote on a plan or a release that lies in the cooperative's folder; with reasons, which can be looked at first."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Response
from starlette.exceptions import HTTPException

from data_pipeline.text import as_seen, text_problems
from governance_hooks.bylaws import ProposalKind
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, Refused
from governance_hooks.motions import Consult, subject_of
from governance_hooks.register import Register
from governance_hooks.sentence import Sentence
from portal import i18n, reasons
from portal.plan_words import plan_in_words
from portal.signing.drafting import draft, signing_path
from portal.visit import Here, Visit

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_SUBJECT = r"^sha256:[0-9a-f]{64}$"
Written = Annotated[str, Form(alias="reasons", max_length=40_000)]
Act = Annotated[Literal["preview", "sign"], Form()]
MAX_QUESTION_BYTES, MAX_OPTION_BYTES, MAX_OPTIONS, MAX_STATEMENTS = 20_000, 1000, 20, 64


def _ready(visit: Visit, register: Register) -> tuple[dict[str, str], dict[str, str]]:
    """Return the plans and releases in the folder that no vote is open on, and no approval stands for: digest -> name."""
    taken = {one.subject for one in register.proposals.values() if one.closed is None or (one.tally is not None and one.tally.approved)}
    plans = {digest: plan.name for digest, plan in visit.service.house.plans().items() if digest not in taken and plan.coop == register.coop}
    return plans, {digest: folder.name for digest, folder in visit.service.house.releases().items() if digest not in taken}


def _found(visit: Visit, register: Register, subject: str) -> tuple[ProposalKind, str]:
    """Return what kind of vote is asked for, and the name of the thing; raise Refused for what is not to be put to the vote."""
    plans, releases = _ready(visit, register)
    if subject in plans:
        return "run", plans[subject]
    if subject in releases:
        return "release", releases[subject]
    raise Refused(i18n.gettext("this is not to be put to the vote now"), value=subject, next=i18n.gettext("look at the list again"))


def _clean(written: str) -> str:
    """Return the reasons of a form as they are kept; nothing for none."""
    return reasons.sound(written) if written.strip() else ""


def _kept(visit: Visit, clean: str) -> str | None:
    """Keep reasons and return their fingerprint; None for none."""
    return visit.service.house.keep_reason(clean) if clean else None


def _looks(visit: Visit, member: str) -> None:
    """Refuse who looks at their Markdown too often."""
    if not visit.service.limits.allows("dry", member):
        raise HTTPException(429)


@router.get("/propose")
def propose(visit: Here) -> Response:
    """Show what can be put to the vote."""
    return _page(visit)


def _page(visit: Visit, status: int = 200, **written: Any) -> Response:
    """Return the page of what can be put to the vote, with a question as far as it is written."""
    with visit.register() as register:
        member = visit.as_member(register)
        register.standing(member.id)
        plans, releases = _ready(visit, register)
        shortest = register.bylaws.rules("consultation").minimum_period_s
    values = {"question": "", "options": "", "method": "approval", "reasons": "", "problem": None, "preview": None} | written
    span = i18n.span(shortest) if shortest else None
    return visit.page("propose.html", status, plans=plans, releases=releases, span=span, most=MAX_OPTIONS, statements=MAX_STATEMENTS, **values)


@router.get("/propose/file")
def propose_file(visit: Here, subject: Annotated[str, Query(pattern=_SUBJECT)]) -> Response:
    """Show the form for the reasons of a proposal about a plan or a release."""
    return _file_page(visit, subject)


def _file_page(visit: Visit, subject: str, status: int = 200, **written: Any) -> Response:
    with visit.register() as register:
        register.standing(visit.as_member(register).id)
        kind, name = _found(visit, register, subject)
    plan = visit.service.house.plans().get(subject)
    lines = plan_in_words(plan) if plan else []
    return visit.page(
        "propose_file.html", status, subject=subject, kind=kind, name=name, lines=lines, **({"reasons": "", "problem": None, "preview": None} | written)
    )


@router.post("/propose/file")
def proposed_file(visit: Here, subject: Annotated[str, Form(pattern=_SUBJECT)], written: Written = "", act: Act = "sign") -> Response:
    """Draft a proposal about a plan or a release; or show its reasons as members will read them."""
    try:
        clean = _clean(written)
    except BadInput as error:
        return _file_page(visit, subject, 422, reasons=written, problem=error)
    if act == "preview":
        with visit.register() as register:
            _looks(visit, visit.as_member(register).id)
        return _file_page(visit, subject, reasons=clean, preview=reasons.shown(clean))
    with visit.register() as register:
        member = visit.as_member(register)
        register.standing(member.id)
        kind, _ = _found(visit, register, subject)
        uses = visit.service.house.plans()[subject].limits.max_starts if kind == "run" else 1
        kept = _kept(visit, clean)
        payload = visit.service.house.proposal_payload(kind, subject, uses=uses, motion=None, reasons=kept)
        made = draft(visit.service, register, "coop.proposal/v1", payload, member.id)
    return visit.go_sign(signing_path(made, member.id))


@router.post("/propose/question")
def ask(
    visit: Here,
    question: Annotated[str, Form(max_length=40_000)],
    options: Annotated[str, Form(max_length=80_000)],
    method: Annotated[Literal["approval", "ranked", "opinions"], Form()],
    written: Written = "",
    act: Act = "sign",
) -> Response:
    """Keep the texts of a question, which are public, and draft the consultation that names them by digest; or show how it will be read."""
    typed: dict[str, Any] = {"question": question, "options": options, "method": method, "reasons": written}
    try:
        asked, lines = _question(question, options, method)
        clean = _clean(written)
    except BadInput as error:
        return _page(visit, 422, problem=error, **typed)
    if act == "preview":
        with visit.register() as register:
            _looks(visit, visit.as_member(register).id)
        return _page(visit, preview={"question": asked, "options": lines, "reasons": reasons.shown(clean) if clean else None}, **typed)
    with visit.register() as register:
        member = visit.as_member(register)
        register.standing(member.id)
        if not visit.service.limits.allows("remark", member.id):
            raise HTTPException(429)
        for text in (asked, *lines):
            visit.service.house.keep_text(text.encode())
        motion = Consult(question=sha256(asked.encode()), options=[sha256(line.encode()) for line in lines], method=method)
        kept = _kept(visit, clean)
        payload = visit.service.house.proposal_payload("consultation", subject_of(motion), uses=1, motion=motion, reasons=kept)
        made = draft(visit.service, register, "coop.proposal/v1", payload, member.id)
    return visit.go_sign(signing_path(made, member.id))


def _question(question: str, options: str, method: str) -> tuple[str, list[str]]:
    """Return the texts of a question and its options; raise BadInput for what is none."""
    asked = question.replace("\r\n", "\n").strip()
    lines = [line.strip() for line in options.splitlines() if line.strip()]
    most = MAX_STATEMENTS if method == "opinions" else MAX_OPTIONS
    if not 2 <= len(lines) <= most or len({as_seen(line) for line in lines}) != len(lines):
        raise BadInput(
            i18n.gettext("a question has different options, one in each line"),
            value=len(lines),
            allowed=Sentence("{first} to {last}", first=2, last=most),
        )
    for name, text, longest in [(Sentence("the question"), asked, MAX_QUESTION_BYTES), *((Sentence("an option"), line, MAX_OPTION_BYTES) for line in lines)]:
        for problem in text_problems(name, text, longest):
            raise BadInput(problem.what, value=problem.value, allowed=problem.allowed)
    return asked, lines

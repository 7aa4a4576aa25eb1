"""`coop propose`: open a vote, on a file or on a motion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from commonweights import drafts
from commonweights.amending import amended
from commonweights.cli import Session
from commonweights.cosigning import together
from commonweights.options import draft_option, key_option
from commonweights.texts import keep_text
from commonweights.voting import find_proposal, how_to_answer, keep_reason, proposal_payload, reasons_in, subject_of, superseded_by
from commonweights.workspace import Workspace, load_key, member_of, open_workspace
from governance_hooks import motions
from governance_hooks.bylaws import ProposalKind
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.fields import Strict
from governance_hooks.sshsig import Signer
from governance_hooks.statement import now, shift

__all__ = ["propose"]


@click.group()
def propose() -> None:
    """Open a vote on a file or on a motion.

    A run, a release, a payout and an access are files: members vote on exactly these bytes. Everything else is a motion, which stands in the
    proposal in full and takes effect by itself once it is approved and its challenge window is over.
    The bylaws' rules are copied in and the roll is frozen when it opens. `coop bylaws` shows the rules of each kind.
    """


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what every kind of proposal takes."""
    period = click.option("--period", "period_s", type=int, default=0, help="How long the vote is open, seconds [default: the bylaws' minimum].")
    sponsors = click.option(
        "--sponsor", "sponsors", multiple=True, type=click.Path(path_type=Path), help="Key of another member who sponsors it; .pub with --draft."
    )
    reasons = click.option(
        "--reasons",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Your reasons, in Markdown; everybody can read them, and you can erase them.",
    )
    drafted = click.option("--from-draft", "drafted", help="The draft statement this is the last version of (coop draft).")
    return click.pass_obj(period(sponsors(reasons(drafted(key_option(draft_option(command)))))))


Options = dict[str, Any]


def _open(
    session: Session,
    kind: ProposalKind,
    make: Callable[[Workspace], tuple[str, int] | Strict],
    options: Options,
    *,
    new: Signer | None = None,
    supersedes: Callable[[Workspace], list[str]] = lambda space: [],
) -> None:
    """Open a proposal about what `make` returns: (subject digest, uses), or a motion."""
    own, draft = load_key(options["key"]), options["draft"]
    keys = [own, *map(load_key, options["sponsors"]), *([new] if new else [])]
    with open_workspace(session.folder, read_only=draft is not None) as space:
        author = member_of(space.coop, own)
        made = make(space)
        motion = made if isinstance(made, Strict) else None
        subject, uses = (motions.subject_of(made), 1) if isinstance(made, Strict) else made
        drafted = space.coop.find(options["drafted"]).id if options["drafted"] else None
        named = supersedes(space)
        why = keep_reason(space, reasons_in(options["reasons"])) if options["reasons"] else None
        period_s = options["period_s"]
        payload = proposal_payload(space.coop, kind, subject, uses=uses, period_s=period_s, motion=motion, draft=drafted, supersedes=named, reasons=why)
        statement = together(session, space.coop, "coop.proposal/v1", payload, author, keys, draft)
    if statement is None:
        return
    how = how_to_answer(motion)
    text = f"proposal {statement.id}\n  {kind}, subject {subject}\n  open until {payload['closes']}, roll of {payload['roll']['members']}\nnext: coop vote {statement.id[7:19]} {how}"
    session.show({"proposal": statement.id, "kind": kind, "subject": subject, "closes": payload["closes"], "roll": payload["roll"]["members"]}, text)


@propose.command()
@click.argument("plan", type=click.Path(path_type=Path))
@_options
def run(session: Session, plan: Path, **options: Any) -> None:
    """A training run, by its PLAN (name or file)."""
    _open(session, "run", lambda space: subject_of(space, "run", plan), options)


@propose.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@_options
def release(session: Session, bundle: Path, **options: Any) -> None:
    """A release, by its BUNDLE (name or folder). Once it is out, the releases its release.json names are superseded."""
    _open(session, "release", lambda space: subject_of(space, "release", bundle), options, supersedes=lambda space: superseded_by(space, bundle))


@propose.command()
@click.argument("file", type=click.Path(path_type=Path))
@_options
def payout(session: Session, file: Path, **options: Any) -> None:
    """A payout, or the rule of payouts, by the FILE that states it (coop payout)."""
    _open(session, "payout", lambda space: subject_of(space, "payout", file), options)


@propose.command()
@click.argument("file", type=click.Path(path_type=Path))
@_options
def access(session: Session, file: Path, **options: Any) -> None:
    """An outsider's access to data, by the FILE of its request (coop access request)."""
    _open(session, "access", lambda space: subject_of(space, "access", file), options)


@propose.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_options
def bylaws(session: Session, file: Path, **options: Any) -> None:
    """An amendment: FILE (YAML) names what changes; what it leaves out stays. See it first: coop bylaws --with FILE."""
    _open(session, "bylaws", lambda space: motions.AmendBylaws(bylaws=amended(space.coop.register, file)), options)


@propose.command()
@click.argument("run")
@_options
def waiver(session: Session, run: str, **options: Any) -> None:
    """The release of RUN although its evaluation or its leak test did not pass; the card will say so."""

    def make(space: Workspace) -> Strict:
        found = space.coop.register.run(run)
        if found.report is None:
            raise BadInput("this run is not evaluated yet", value=run, next="coop eval")
        return motions.Waive(run=run, report=found.report, leak=found.leak if found.leak_passed is False else None)

    _open(session, "waiver", make, options)


@propose.command()
@click.argument("request", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("new", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_options
def admission(session: Session, request: Path, new: Path, **options: Any) -> None:
    """A new member by vote: REQUEST is what `coop join` wrote, NEW their key, which signs too (.pub with --draft)."""
    asked = drafts.read_body(request).get("payload", {})
    if not isinstance(asked, dict) or set(asked) != {"member", "key"}:
        raise BadInput(f"{request} is no request to join", next="coop join")
    _open(session, "admission", lambda space: motions.Admit(member=asked["member"], key=asked["key"]), options, new=load_key(new))


@propose.command()
@click.argument("member")
@click.option("--days", type=click.IntRange(1), default=90, show_default=True, help="How long after the vote may end.")
@_options
def suspension(session: Session, member: str, days: int, **options: Any) -> None:
    """That MEMBER may not vote or hold an office for a time; their consents stay theirs."""
    _open(session, "suspension", lambda space: motions.Suspend(member=member, until=shift(now(), days * 86_400)), options)


@propose.command()
@click.argument("proposal")
@click.option("--days", type=click.IntRange(1), default=90, show_default=True, help="Until how long from now.")
@click.option("--ratifies", help="The oversight body's halt this prolongs (its statement).")
@_options
def halt(session: Session, proposal: str, days: int, ratifies: str | None, **options: Any) -> None:
    """A halt of the approval PROPOSAL by the members, or the ratification of a halt that would lapse."""

    def make(space: Workspace) -> Strict:
        halted = space.coop.find(ratifies).id if ratifies else None
        return motions.HaltUse(proposal=find_proposal(space.coop, proposal).id, until=shift(now(), days * 86_400), ratifies=halted)

    _open(session, "halt", make, options)


@propose.command()
@click.argument("release")
@click.option("--reason", required=True, type=click.Choice(get_args(motions.Reason)))
@click.option("--ratifies", help="The stewards' withdrawal this makes stand (its statement).")
@_options
def recall(session: Session, release: str, reason: motions.Reason, ratifies: str | None, **options: Any) -> None:
    """The withdrawal of RELEASE (name or digest) by the members, or the ratification of one by the stewards, which would lapse."""

    def make(space: Workspace) -> Strict:
        from commonweights.attesting import release_digest

        stated = space.coop.find(ratifies).id if ratifies else None
        return motions.Recall(release=release_digest(space, release), reason=reason, ratifies=stated)

    _open(session, "recall", make, options)


@propose.command()
@click.argument("against")
@_options
def appeal(session: Session, against: str, **options: Any) -> None:
    """The end of a halt, a withdrawal of a release or a suspension: AGAINST is the statement or proposal that made it. Suspended members may appeal."""
    _open(session, "appeal", lambda space: motions.AppealAgainst(against=space.coop.find(against).id), options)


@propose.command()
@click.argument("members", nargs=-1, required=True)
@click.option("--days", type=click.IntRange(1), default=365, show_default=True, help="Length of the term.")
@click.option("--panel", help="The panel they were drawn in, where the bylaws seat by lot.")
@_options
def appointment(session: Session, members: tuple[str, ...], days: int, panel: str | None, **options: Any) -> None:
    """The MEMBERS of the oversight body for a term."""

    def make(space: Workspace) -> Strict:
        drawn = space.coop.find(panel).id if panel else None
        return motions.Appoint(members=sorted(set(members)), until=shift(now(), days * 86_400), panel=drawn)

    _open(session, "appointment", make, options)


@propose.command()
@click.argument("new", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_options
def operator(session: Session, new: Path, **options: Any) -> None:
    """Another operator: NEW is their key, which signs too (.pub with --draft)."""
    fresh = load_key(new)
    _open(session, "operator", lambda space: motions.ChangeOperator(operator=fresh.public.line), options, new=fresh)


@propose.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_options
def consultation(session: Session, file: Path, **options: Any) -> None:
    """A question that binds nobody. FILE is YAML: question, options (a list), method (approval or ranked); or question, statements (a list), method opinions.

    With opinions members agree or disagree with each statement, or pass it over; the statements stay as they are until the end.
    """
    import yaml

    try:
        asked = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} is not YAML: {error}") from error
    listed_as = "statements" if isinstance(asked, dict) and asked.get("method") == "opinions" else "options"
    if not isinstance(asked, dict) or set(asked) != {"question", listed_as, "method"} or not isinstance(asked[listed_as], list):
        raise BadInput(
            f"{file} does not hold a question",
            value=sorted(map(str, asked)) if isinstance(asked, dict) else asked,
            allowed="question, options (a list), method; with method opinions: question, statements (a list), method",
        )
    texts = [str(text).encode() for text in (asked["question"], *asked[listed_as])]
    if asked["method"] not in ("approval", "ranked", "opinions") or not 2 <= len(texts) - 1 <= 64:
        raise BadInput(
            f"{file}: method or {listed_as} do not fit", value=(asked["method"], len(texts) - 1), allowed="approval, ranked or opinions; 2 to 64 of them"
        )
    if listed_as == "statements" and len(set(texts[1:])) < len(texts) - 1:
        raise BadInput(f"{file}: a statement is there twice", allowed="different statements")

    def make(space: Workspace) -> Strict:
        for text in texts:
            keep_text(space, text)
        question, *listed = map(sha256, texts)
        return motions.Consult(question=question, options=listed, method=asked["method"])

    _open(session, "consultation", make, options)

"""`coop propose`, `vote`, `tally`, `close`, `halt`: the life of a proposal."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights import drafts
from commonweights.cli import Session
from commonweights.options import draft_option, key_option
from commonweights.voting import close_payload, describe, find_proposal, keep_reason, proposal_payload, subject_of
from commonweights.workspace import load_key, member_of, open_workspace
from governance_hooks.statement import now, shift

__all__ = ["close", "halt", "propose", "tally", "vote"]


@click.command()
@click.argument("kind", type=click.Choice(["run", "release"]))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--period", "period_s", type=int, help="How long the vote is open, seconds [default: the bylaws' minimum].")
@key_option
@draft_option
@click.pass_obj
def propose(session: Session, kind: str, target: Path, period_s: int | None, key: Path | None, draft: Path | None) -> None:
    """Open a vote on a plan (`run PLAN`) or on a release bundle (`release NAME`).

    The subject is the SHA-256 of exactly these bytes. The bylaws' rules are copied in and the roll is frozen now.
    """
    own = load_key(key)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        member = member_of(space.coop, own)
        subject, uses = subject_of(space, kind, target)
        payload = proposal_payload(space.coop, kind, subject, uses=uses, period_s=period_s or 0)
        statement = drafts.say(space.coop, "coop.proposal/v1", payload, key=own, author=member, draft=draft)
    if statement is None:
        session.show({"draft": str(draft)}, f"drafted {draft}; sign it, then: coop append {draft}")
        return
    text = f"proposal {statement.id}\n  {kind} {target}, subject {subject}\n  open until {payload['closes']}, roll of {payload['roll']['members']}\nnext: coop vote {statement.id[7:19]} for|against|abstain"
    session.show({"proposal": statement.id, "kind": kind, "subject": subject, "closes": payload["closes"], "roll": payload["roll"]["members"]}, text)


@click.command()
@click.argument("proposal")
@click.argument("choice", type=click.Choice(["for", "against", "abstain"]))
@click.option("--reason", help="Your reason; only its digest goes into the log, the text is kept in the cooperative's private folder.")
@key_option
@draft_option
@click.pass_obj
def vote(session: Session, proposal: str, choice: str, reason: str | None, key: Path | None, draft: Path | None) -> None:
    """Cast your ballot; until the close you may change it, the last one counts."""
    own = load_key(key)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        member = member_of(space.coop, own)
        found = find_proposal(space.coop, proposal)
        earlier = found.votes.get(member)
        payload = {
            "proposal": found.id,
            "choice": choice,
            "sequence": earlier.sequence + 1 if earlier else 1,
            "reason": keep_reason(space, reason) if reason else None,
        }
        statement = drafts.say(space.coop, "coop.ballot/v1", payload, key=own, author=member, draft=draft)
        position = space.coop.register.size - 1
    if statement is None:
        session.show({"draft": str(draft)}, f"drafted {draft}; sign it, then: coop append {draft}")
        return
    text = f"{choice}: entry {position}, your receipt is {statement.id}\ncheck it from any copy of the log: coop log prove {statement.id[7:19]}"
    session.show({"ballot": statement.id, "position": position, "member": member, "choice": choice}, text)


@click.command()
@click.argument("proposal", required=False)
@click.pass_obj
def tally(session: Session, proposal: str | None) -> None:
    """Count a vote from its ballots [default: the newest]."""
    with open_workspace(session.folder, read_only=True) as space:
        value = describe(find_proposal(space.coop, proposal))
    state = value.get("outcome") or f"open until {value['closes']}, as it stands {value['would_be']}"
    text = f"{value['kind']} {value['proposal'][:19]}: {state}\n  for {value['for']}  against {value['against']}  abstain {value['abstain']}  of {value['roll']} on the roll\n  {value['why']}"
    session.show(value, text)


@click.command()
@click.argument("proposal", required=False)
@click.pass_obj
def close(session: Session, proposal: str | None) -> None:
    """Close a vote whose time is over (operator); a wrong count is refused by everybody who replays the log."""
    with open_workspace(session.folder) as space:
        found = find_proposal(space.coop, proposal)
        if found.closed is None:
            space.coop.operate("coop.close/v1", close_payload(found))
        value = describe(find_proposal(space.coop, found.id))
    session.show(value, f"{value['outcome']}: {value['why']}")


@click.command()
@click.argument("proposal")
@click.option("--hours", type=int, default=24, show_default=True, help="How long; the halt lapses by itself after that.")
@key_option
@draft_option
@click.pass_obj
def halt(session: Session, proposal: str, hours: int, key: Path | None, draft: Path | None) -> None:
    """Halt the use of an approval for a limited time (members of the oversight body).

    A run that stands on it stops at its next step boundary, with a checkpoint. If the bylaws want several signatures, use --draft.
    """
    own = load_key(key)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        member = member_of(space.coop, own)
        found = find_proposal(space.coop, proposal)
        until = shift(now(), hours * 3600)
        statement = drafts.say(space.coop, "coop.halt/v1", {"proposal": found.id, "until": until}, key=own, author=member, draft=draft)
    if statement is None:
        session.show({"draft": str(draft)}, f"drafted {draft}; sign it, then: coop append {draft}")
    else:
        session.show({"halt": statement.id, "until": until}, f"halted until {until}: {statement.id}")

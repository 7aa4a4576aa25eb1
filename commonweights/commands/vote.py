"""`coop propose`, `vote`, `tally`, `close`, `halt`: the life of a proposal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights import drafts
from commonweights.cli import Session
from commonweights.options import draft_option, key_option
from commonweights.workspace import Workspace, load_key, member_of, open_workspace
from governance_hooks.canonical import sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput
from governance_hooks.plan import read_plan
from governance_hooks.state import Proposal
from governance_hooks.statement import now, shift
from governance_hooks.tally import count, roll_root

__all__ = ["close", "find_proposal", "halt", "propose", "tally", "vote"]


def find_proposal(coop: Cooperative, prefix: str | None) -> Proposal:
    """Return the proposal whose digest starts with `prefix`; with none given, the newest."""
    proposals = list(coop.register.proposals.values())
    if prefix is None:
        if not proposals:
            raise BadInput("there is no proposal yet", next="coop propose run PLAN")
        return proposals[-1]
    hits = [p for p in proposals if p.id.startswith(prefix) or p.id.removeprefix("sha256:").startswith(prefix)]
    if len(hits) != 1:
        raise BadInput(
            "no proposal, or more than one, starts like this", value=prefix, allowed=", ".join(p.id[:19] for p in proposals) or "none", next="coop status"
        )
    return hits[0]


def subject_of(space: Workspace, kind: str, target: Path) -> tuple[str, int]:
    """Return the digest a proposal is about and the number of uses it allows."""
    if kind == "run":
        path = target if target.is_file() else space.plan(str(target))
        if not path.is_file():
            raise BadInput(f"there is no plan {target}", next="coop plan CONFIG")
        data = path.read_bytes()
        return sha256(data), read_plan(data, source=str(path)).limits.max_starts
    path = target / "release.json" if (target / "release.json").is_file() else space.release(str(target)) / "release.json"
    if not path.is_file():
        raise BadInput(f"there is no release bundle {target}", next="coop release assemble RUN")
    return sha256(path.read_bytes()), 1


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
        register = space.coop.register
        member = member_of(space.coop, own)
        subject, uses = subject_of(space, kind, target)
        rules = register.bylaws.kinds["run" if kind == "run" else "release"]
        roll = register.active()
        payload = {
            "kind": kind,
            "subject": subject,
            "rules": rules.model_dump(),
            "roll": {"root": roll_root(roll), "members": len(roll)},
            "closes": shift(now(), max(period_s or 0, rules.minimum_period_s) + 1),
            "uses": uses,
        }
        statement = drafts.say(space.coop, "coop.proposal/v1", payload, key=own, author=member, draft=draft)
    if statement is None:
        session.show({"draft": str(draft)}, f"drafted {draft}; sign it, then: coop append {draft}")
        return
    text = f"proposal {statement.id}\n  {kind} {target}, subject {subject}\n  open until {payload['closes']}, roll of {len(roll)}\nnext: coop vote {statement.id[7:19]} for|against|abstain"
    session.show({"proposal": statement.id, "kind": kind, "subject": subject, "closes": payload["closes"], "roll": len(roll)}, text)


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
            "reason": sha256(reason.encode()) if reason else None,
        }
        statement = drafts.say(space.coop, "coop.ballot/v1", payload, key=own, author=member, draft=draft)
        if reason and statement is not None:
            from governance_hooks.atomic import write_bytes

            write_bytes(space.root / "private" / "reasons" / f"{sha256(reason.encode())[7:]}.txt", reason.encode(), mode=0o600)
        position = space.coop.register.size - 1
    if statement is None:
        session.show({"draft": str(draft)}, f"drafted {draft}; sign it, then: coop append {draft}")
        return
    text = f"{choice}: entry {position}, your receipt is {statement.id}\ncheck it from any copy of the log: coop log prove {statement.id[7:19]}"
    session.show({"ballot": statement.id, "position": position, "member": member, "choice": choice}, text)


def describe(proposal: Proposal) -> dict[str, Any]:
    """Return the count and the state of a proposal, counted from its ballots."""
    counted = proposal.tally or count((vote.choice for vote in proposal.votes.values()), len(proposal.roll), proposal.rules)
    return {
        "proposal": proposal.id,
        "kind": proposal.kind,
        "subject": proposal.subject,
        "for": counted.votes_for,
        "against": counted.votes_against,
        "abstain": counted.votes_abstain,
        "roll": len(proposal.roll),
        "closes": proposal.closes,
        "closed": proposal.closed is not None,
        "would_be" if proposal.closed is None else "outcome": counted.outcome,
        "why": counted.why,
        "used": proposal.used,
        "uses": proposal.uses,
    }


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
            value = describe(found)
            payload = {
                "proposal": found.id,
                "votes_for": value["for"],
                "votes_against": value["against"],
                "votes_abstain": value["abstain"],
                "outcome": value["would_be"],
            }
            space.coop.operate("coop.close/v1", payload)
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

"""`coop vote`, `tally`, `close`, `object`: ballots, their count, and what members can still say afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights import drafts
from commonweights.cli import Session
from commonweights.options import draft_option, key_option
from commonweights.texts import shown
from commonweights.voting import close_statement, describe, find_proposal, keep_reason
from commonweights.workspace import Workspace, load_key, member_of, open_workspace
from governance_hooks.errors import BadInput
from governance_hooks.motions import Consult
from governance_hooks.state.proposals import Proposal
from governance_hooks.statement import now

__all__ = ["close", "object_to", "tally", "vote"]

_CHOICES = ("for", "against", "abstain")


@click.command()
@click.argument("proposal")
@click.argument("choice", nargs=-1, required=True)
@click.option("--reason", help="Your reason; only its digest goes into the log, the text is kept in the cooperative's private folder.")
@key_option
@draft_option
@click.pass_obj
def vote(session: Session, proposal: str, choice: tuple[str, ...], reason: str | None, key: Path | None, draft: Path | None) -> None:
    """Cast your ballot; until the close you may change it, the last one counts.

    \b
    coop vote 93f85b37 for            for, against or abstain
    coop vote 93f85b37 2 1 3          a ranked consultation: option 2 before 1 before 3
    coop vote 93f85b37 1 3            an approval consultation: both 1 and 3 are fine
    coop vote 93f85b37 agree=1,4-6 disagree=2    a consultation of statements; you pass the others
    """
    own = load_key(key)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        member = member_of(space.coop, own)
        found = find_proposal(space.coop, proposal)
        earlier = found.votes.get(member)
        kind, answer = _answer(found, choice)
        payload = {"proposal": found.id, "sequence": earlier.sequence + 1 if earlier else 1, "reason": keep_reason(space, reason) if reason else None}
        statement = drafts.say(space.coop, kind, payload | answer, key=own, author=member, draft=draft)
        position = space.coop.register.size - 1
        prolonged = f"\nthe quorum came late: the vote is open until {found.closes}" if found.extended and draft is None else ""
    if statement is None:
        session.show({"draft": str(draft)}, f"drafted {draft}; sign it, then: coop append {draft}")
        return
    text = f"{' '.join(choice)}: entry {position}, your receipt is {statement.id}\ncheck it from any copy of the log: coop log prove {statement.id[7:19]}{prolonged}"
    session.show({"ballot": statement.id, "position": position, "member": member} | answer, text)


def _answer(proposal: Proposal, choice: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Return statement type and payload field of an answer in words or numbers from 1."""
    motion = proposal.motion
    if not isinstance(motion, Consult):
        if len(choice) != 1 or choice[0] not in _CHOICES:
            raise BadInput("this is no ballot", value=" ".join(choice), allowed=", ".join(_CHOICES))
        return "coop.ballot/v1", {"choice": choice[0]}
    if motion.method == "opinions":
        from commonweights.opinions import answers_of

        return "coop.opinions/v1", {"answers": answers_of(choice, len(motion.options))}
    if not all(one.isascii() and one.isdigit() and 1 <= int(one[:4]) <= len(motion.options) for one in choice):
        raise BadInput("a consultation is answered with the numbers of its options", value=" ".join(choice), allowed=f"1 to {len(motion.options)}")
    options = [int(one) - 1 for one in choice]
    return "coop.preference/v1", {"options": sorted(options) if motion.method == "approval" else options}


@click.command()
@click.argument("proposal", required=False)
@click.option("--methods", is_flag=True, help="For a ranked consultation: what other voting methods would say (needs votelib).")
@click.option("--groups", is_flag=True, help="For a consultation of statements: which groups of opinions there are, and what unites them (needs red-dwarf).")
@click.pass_obj
def tally(session: Session, proposal: str | None, methods: bool, groups: bool) -> None:
    """Count a vote from its ballots [default: the newest]."""
    with open_workspace(session.folder, read_only=True) as space:
        found = find_proposal(space.coop, proposal)
        value = describe(found)
        lines = _answers(space, found, value) if isinstance(found.motion, Consult) else _counts(value)
        if groups:
            from commonweights.opinions import map_lines
            from portal.opinion.drawing import draw

            drawn = draw(found)
            assert isinstance(found.motion, Consult)
            value["map"] = drawn.public()
            lines += map_lines(space, found.motion, drawn)
        if methods:
            from commonweights.methods import other_methods

            value["methods"] = other_methods(found)
            lines += [f"  {name:<24} {', '.join(str(option + 1) for option in winners)}" for name, winners in value["methods"].items()]
    session.show(value, "\n".join([f"{value['kind']} {value['proposal'][:19]}: {value['state']}", *lines, f"  {value['why']}"]))


def _counts(value: dict[str, Any]) -> list[str]:
    line = f"  for {value['for']}  against {value['against']}  abstain {value['abstain']}  of {value['roll']} on the roll"
    replaces = [f"  once it is out, it supersedes release {one}" for one in value["supersedes"]]
    return [*replaces, line] if value["closed"] else [*replaces, line, f"  as it stands: {value['would_be']}"]


def _answers(space: Workspace, proposal: Proposal, value: dict[str, Any]) -> list[str]:
    motion = proposal.motion
    assert isinstance(motion, Consult)
    if motion.method == "opinions":
        from commonweights.opinions import lines_of

        return lines_of(space, motion, value["opinions"])
    lines = [f"  {shown(space, motion.question)}"]
    for number, (option, named) in enumerate(zip(motion.options, value["named"], strict=True)):
        mark = "*" if number in value["winners"] else " "
        lines.append(f"  {mark} {number + 1}  {named:>4} {'ranked' if motion.method == 'ranked' else 'approved'}  {shown(space, option)}")
    return [*lines, "  * no other option is preferred to it" + (" (Schulze's method)" if motion.method == "ranked" else "")]


@click.command()
@click.argument("proposal", required=False)
@click.option("--due", is_flag=True, help="Every vote whose time is over, in the order in which they ended; for a timer.")
@click.pass_obj
def close(session: Session, proposal: str | None, due: bool) -> None:
    """Close a vote whose time is over (operator); a wrong count is refused by everybody who replays the log."""
    if due and proposal is not None:
        raise BadInput("a vote is named, and --due closes every vote whose time is over", value=proposal, allowed="one of the two")
    with open_workspace(session.folder) as space:
        ended = _ended(space) if due else [find_proposal(space.coop, proposal).id]
        values = []
        for identifier in ended:
            found = find_proposal(space.coop, identifier)
            if found.closed is None:
                space.coop.operate(*close_statement(found))
            values.append(describe(find_proposal(space.coop, identifier)))
    if not due:
        session.show(values[0], f"{values[0]['state']}: {values[0]['why']}")
        return
    lines = [f"{value['kind']} {value['proposal'][:19]}: {value['state']}: {value['why']}" for value in values]
    session.show({"closed": values}, "\n".join(lines) or "no open vote is over")


def _ended(space: Workspace) -> list[str]:
    """Return the open votes whose time is over; none is closed before one that ended earlier (`governance_hooks.rules.closing`)."""
    at = now()
    over = [one for one in space.coop.register.proposals.values() if one.closed is None and one.closes <= at]
    return [one.id for one in sorted(over, key=lambda one: (one.closes, one.opened))]


@click.command(name="object")
@click.argument("proposal")
@click.option("--reason", help="Your reason; only its digest goes into the log, the text is kept in the cooperative's private folder.")
@key_option
@draft_option
@click.pass_obj
def object_to(session: Session, proposal: str, reason: str | None, key: Path | None, draft: Path | None) -> None:
    """Object to what was approved, while its challenge window is open; enough objections undo the approval."""
    own = load_key(key)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        member = member_of(space.coop, own)
        found = find_proposal(space.coop, proposal)
        payload = {"proposal": found.id, "reason": keep_reason(space, reason) if reason else None}
        statement = drafts.say(space.coop, "coop.objection/v1", payload, key=own, author=member, draft=draft)
        value = describe(find_proposal(space.coop, found.id))
    if statement is None:
        session.show({"draft": str(draft)}, f"drafted {draft}; sign it, then: coop append {draft}")
    else:
        session.show({"objection": statement.id} | value, f"objected: {statement.id}\n{value['state']}")

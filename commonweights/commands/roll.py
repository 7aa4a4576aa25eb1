"""`coop roll`: who may vote, whether you do, and who has not voted yet."""

from __future__ import annotations

import base64
from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.options import key_option
from commonweights.voting import find_proposal, missing_voters
from commonweights.workspace import load_key, member_of, open_workspace
from governance_hooks import merkle
from governance_hooks.canonical import is_digest
from governance_hooks.errors import CoopError
from governance_hooks.tally import roll_path

__all__ = ["roll"]


@click.command()
@click.argument("proposal", required=False)
@click.option("--missing", is_flag=True, help="List who has not voted yet, ids only, one a line: for reminders.")
@key_option
@click.pass_obj
def roll(session: Session, proposal: str | None, missing: bool, key: Path | None) -> None:
    """Show whether you are on the roll of PROPOSAL [default: the newest], with the proof of it."""
    with open_workspace(session.folder, read_only=True) as space:
        found = find_proposal(space.coop, proposal)
        waiting = missing_voters(found)
        member: str | None = None
        try:
            member = member_of(space.coop, load_key(key))
        except CoopError:
            if key is not None or not missing:
                raise
    value = {"proposal": found.id, "members": len(found.roll), "root": found.roll_root, "missing": waiting, "you": member, "on_roll": member in found.roll}
    if missing:
        session.show(value, "\n".join(waiting))
        return
    assert member is not None
    if member not in found.roll:
        session.show(value, f"{member}: not on the roll of {found.id[:19]}, which was frozen when it opened, with {len(found.roll)} members")
        raise click.exceptions.Exit(1)
    index, path = roll_path(found.roll, member)
    assert is_digest(found.roll_root)
    holds = merkle.verify_inclusion(merkle.leaf_hash(member.encode()), index, len(found.roll), path, bytes.fromhex(found.roll_root[7:]))
    cast = found.votes.get(member)
    voted = "you have not voted" if cast is None else f"your ballot {cast.ballot[7:19]} is number {cast.sequence}"
    text = f"{member}: on the roll of {found.id[:19]}, number {index + 1} of {len(found.roll)}, {'PROVEN' if holds else 'NOT PROVEN'} under root {found.roll_root[:19]}\n  {voted}"
    session.show(value | {"index": index, "path": [base64.b64encode(step).decode() for step in path], "holds": holds}, text)
    if not holds:
        raise click.exceptions.Exit(1)

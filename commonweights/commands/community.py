"""`coop exit`: the exit to community."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.cosigning import together
from commonweights.options import draft_option, key_option
from commonweights.workspace import load_key, member_of, open_workspace

__all__ = ["exit_to_community"]


@click.command(name="exit")
@click.option("--founder", "founders", multiple=True, type=click.Path(path_type=Path), help="Key of another founder; .pub with --draft.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@key_option
@draft_option
@click.pass_obj
def exit_to_community(session: Session, founders: tuple[Path, ...], yes: bool, key: Path | None, draft: Path | None) -> None:
    """Hand the founders' powers to the members, for ever (signed by every founder).

    From then on no kind of proposal is the founders' alone, and founders alone can neither admit, recover, halt nor approve: one
    who is no founder must be among them. No later statement and no amendment takes this back. The operator's key is not a
    founder's key: to change it, members vote (coop propose operator).
    """
    own = load_key(key)
    keys = [own, *map(load_key, founders)]
    if not yes and draft is None:
        click.confirm("This cannot be undone by anybody. Hand the founders' powers to the members?", abort=True, err=True)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        author = member_of(space.coop, own)
        statement = together(session, space.coop, "coop.exit/v1", {}, author, keys, draft)
        position = space.coop.register.size - 1
    if statement is not None:
        session.show({"statement": statement.id, "position": position}, f"the cooperative is its members' from entry {position} on: {statement.id}")

"""`coop erase`: the texts and reasons of somebody who left and has no key any more, erased by the operator."""

from __future__ import annotations

import click

from commonweights.cli import Session
from commonweights.commands.contribute import open_store
from commonweights.voting import reason_file
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput, Refused

__all__ = ["erase"]


@click.command()
@click.argument("member")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def erase(session: Session, member: str, yes: bool) -> None:
    """Erase every text and reason of MEMBER, who has left and lost every key, from this folder.

    \b
    coop erase m-0123456789abcdef

    Whoever holds a key that was in force when they left does it themselves, on the portal's page of what is still kept (/mine). This asks for
    no key: have a registrar who knows them vouch that it is them who ask. Nothing is written into the log. Datasets and weights made
    before, backups and copies elsewhere stay as they are.
    """
    with open_workspace(session.folder) as space, open_store(space) as store:
        found = space.coop.register.members.get(member)
        if found is None:
            raise BadInput("nobody of this name was ever a member", value=member, allowed="a pseudonym of the log, m- and 16 hexadecimal digits")
        if found.left is None:
            raise Refused("this member has not left, and erases with a key of theirs", value=member, next="who lost every key gets a new one: coop key recover")
        records = [one.record for one in store.records(member=member) if one.erased_at is None]
        reasons = [one for one in _reasons(space, member) if reason_file(space, one).is_file()]
        if not yes:
            click.confirm(f"Erase {len(records)} texts and {len(reasons)} reasons of {member} for good?", abort=True, err=True)
        gone = store.erase(records)
        for one in reasons:
            reason_file(space, one).unlink(missing_ok=True)
    words = f"{gone} texts and {len(reasons)} reasons of {member} erased; datasets built before still hold what they held"
    session.show({"member": member, "texts": gone, "reasons": len(reasons)}, words)


def _reasons(space: Workspace, member: str) -> list[str]:
    """Return the reasons that are somebody's: those they named before anybody else did."""
    first = dict[str, str]()
    for entry in space.coop.log.entries(0, space.coop.register.size):
        value = loads(entry)["body"]
        for name in ("reason", "reasons"):
            given = value["payload"].get(name)
            if isinstance(given, str) and given.startswith("sha256:"):
                first.setdefault(given, value["author"])
    return [one for one, author in first.items() if author == member]

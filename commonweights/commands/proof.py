"""`coop proof`: the portable proof a gate needs."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.witnesses import standing
from commonweights.workspace import open_workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.errors import Refused

__all__ = ["proof"]


@click.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def proof(session: Session, out: Path) -> None:
    """Write the signed checkpoint and every log entry under it to OUT: all a compute node or an auditor needs.

    \b
    coop proof first.coop
    """
    with open_workspace(session.folder, read_only=True) as space:
        data = space.coop.proof().dumps()
        size = space.coop.register.size
        try:
            words = standing(space).words
        except Refused as refused:
            words = f"no gate will take it: {refused.what}; next: coop log cosign"
    write_bytes(out, data)
    session.show({"proof": str(out), "entries": size, "bytes": len(data), "witnesses": words}, f"{out}: {size} entries, {len(data):,} bytes; {words}")

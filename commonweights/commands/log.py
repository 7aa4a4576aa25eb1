"""`coop log`: list, show and prove entries."""

from __future__ import annotations

import base64
import json

import click

from commonweights.cli import Session
from commonweights.people import People
from commonweights.workspace import open_workspace
from governance_hooks import merkle
from governance_hooks.canonical import loads
from governance_hooks.statement import parse

__all__ = ["log"]


@click.group(invoke_without_command=True)
@click.option("--last", default=20, show_default=True, help="How many entries.")
@click.pass_context
def log(ctx: click.Context, last: int) -> None:
    """List the newest entries of the log; `show` prints one, `prove` proves that it is in."""
    if ctx.invoked_subcommand is not None:
        return
    session: Session = ctx.obj
    with open_workspace(session.folder, read_only=True) as space:
        people, size = People(space.people), space.coop.register.size
        start = max(0, size - last)
        statements = [(start + i, parse(data)) for i, data in enumerate(space.coop.log.entries(start))]
    rows = [{"position": position, "type": s.type, "author": s.author, "issued": s.issued, "statement": s.id} for position, s in statements]
    lines = [f"{position:>6}  {s.issued}  {s.type.removeprefix('coop.'):<16} {people.show(s.author):<28} {s.id[7:19]}" for position, s in statements]
    session.show({"size": size, "entries": rows}, "\n".join(lines))


@log.command()
@click.pass_obj
def stamp(session: Session) -> None:
    """State the time in the log (operator): delays, such as that of a recovery, pass by this clock."""
    with open_workspace(session.folder) as space:
        statement = space.coop.operate("coop.time/v1", {})
        position = space.coop.register.size - 1
    session.show({"statement": statement.id, "position": position, "time": statement.issued}, f"the log's clock is {statement.issued}: entry {position}")


@log.command()
@click.argument("statement")
@click.pass_obj
def show(session: Session, statement: str) -> None:
    """Print the entry whose digest starts with STATEMENT: exactly what was signed, and the signatures."""
    with open_workspace(session.folder, read_only=True) as space:
        found = space.coop.find(statement)
    value = loads(found.entry)
    session.show(value, json.dumps(value, indent=2, ensure_ascii=False))


@log.command()
@click.argument("statement")
@click.pass_obj
def prove(session: Session, statement: str) -> None:
    """Prove that an entry is in the log: a Merkle path from it to the signed checkpoint. Keep it as your receipt."""
    with open_workspace(session.folder, read_only=True) as space:
        found = space.coop.find(statement)
        entries = list(space.coop.log.entries())
        index, size = entries.index(found.entry), len(entries)
        path, root, note = space.coop.log.inclusion(index, size), space.coop.log.root(), space.coop.log.checkpoint()
    holds = merkle.verify_inclusion(merkle.leaf_hash(found.entry), index, size, path, root)
    hashes = [base64.b64encode(step).decode() for step in path]
    text = [
        f"{found.type} {found.id}",
        f"  entry {index} of {size}: {'PROVEN' if holds else 'NOT PROVEN'} under",
        *("    " + line for line in note.rstrip().split("\n")),
    ]
    session.show({"statement": found.id, "index": index, "size": size, "path": hashes, "checkpoint": note, "holds": holds}, "\n".join(text))
    if not holds:
        raise click.exceptions.Exit(1)

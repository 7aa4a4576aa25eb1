"""`coop log`: list, show and prove entries."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections import Counter
from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.commands.cosign import cosign, witnesses
from commonweights.people import People
from commonweights.progress import progress
from commonweights.workspace import Workspace, open_workspace
from governance_hooks import merkle
from governance_hooks.canonical import loads
from governance_hooks.errors import CoopError
from governance_hooks.statement import now, parse

__all__ = ["log"]


@click.group(invoke_without_command=True)
@click.option("--last", default=20, show_default=True, help="How many entries.")
@click.pass_context
def log(ctx: click.Context, last: int) -> None:
    """List the newest entries of the log; `show` prints one, `prove` proves that it is in, `export` writes static files, `watch` looks again and again,
    `cosign` asks the witnesses."""
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


@log.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.pass_obj
def export(session: Session, folder: Path) -> None:
    """Write the log into FOLDER as static files (C2SP tlog-tiles) for a web host; run it again to add what is new."""
    from governance_hooks.export import export as run_export

    with open_workspace(session.folder, read_only=True) as space, progress(quiet=session.json) as show:
        done = run_export(space.coop.log, folder, note=space.coop.checkpoint(), progress=show)
    value = {"folder": str(folder), "before": done.before, "size": done.size, "full": done.full, "partial": done.partial, "removed": done.removed}
    wrote = f"wrote {done.full} full and {done.partial} partial files, removed {done.removed} outgrown" if done.changed else "nothing to write"
    session.show(value, f"{folder}: {done.size} entries ({done.size - done.before} new); {wrote}")


@log.command()
@click.option("--every", "every_s", default=60.0, show_default=True, type=click.FloatRange(0), help="Seconds between two looks.")
@click.option("--times", type=click.IntRange(1), help="How many looks [default: until stopped].")
@click.pass_obj
def watch(session: Session, every_s: float, times: int | None) -> None:
    """Read the whole log again and again: report what is new, stop with an error if it was rolled back or forked."""
    before: int | None = None
    for look in itertools.count(1):
        with open_workspace(session.folder, read_only=True) as space:
            size, root = space.coop.register.size, space.coop.log.root().hex()
            start = size if before is None else before
            witnessed = _witnessed(space)
            kinds = Counter(parse(data).type.removeprefix("coop.").removesuffix("/v1") for data in space.coop.log.entries(start, size))
        new = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing new"
        text = f"{now()}  {size:>6} entries  root {root[:12]}  {new}{witnessed and '; ' + witnessed}"
        session.show({"at": now(), "size": size, "root": root, "new": dict(kinds), "witnesses": witnessed or None}, text)
        if look == times:
            return
        before = size
        time.sleep(every_s)


def _witnessed(space: Workspace) -> str:
    """Say how the newest checkpoint stands with the witnesses the bylaws require; nothing, where they require none."""
    from commonweights.witnesses import standing
    from governance_hooks.links import MAX_AGE_S, check_age
    from governance_hooks.report import StepFailed

    if not space.coop.register.bylaws.policy.required:
        return ""
    try:
        found = standing(space)
        check_age(found, now(), MAX_AGE_S)
    except StepFailed as failed:
        return f"STALE: {failed.why}"
    except CoopError as error:
        return f"STALE: {error.what}"
    return found.words


log.add_command(cosign)
log.add_command(witnesses)

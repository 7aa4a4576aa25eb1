"""`coop draft`: versions of what may be proposed, by digest, and what changed between them."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from commonweights import drafts
from commonweights.cli import Session
from commonweights.options import draft_option, key_option
from commonweights.texts import keep_text, read_text
from commonweights.voting import keep_reason, reasons_in
from commonweights.workspace import Workspace, load_key, member_of, open_workspace
from governance_hooks.bylaws import KINDS
from governance_hooks.errors import BadInput

__all__ = ["draft"]


@click.group()
def draft() -> None:
    """Log, list and compare versions of what may be proposed.

    The log holds digests; the texts lie in the folder `texts`, each under its digest. A proposal names the draft it is the last
    version of (coop propose ... --from-draft), so that everybody sees what was changed before the vote.
    """


@draft.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--previous", help="The draft this is the next version of.")
@click.option("--reasons", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The reasons for it, in Markdown, as they are in this version.")
@key_option
@draft_option
@click.pass_obj
def add(session: Session, kind: str, file: Path, previous: str | None, reasons: Path | None, key: Path | None, draft: Path | None) -> None:
    """Log FILE as a version of what may be proposed: a plan for a run, release.json for a release, anything for the rest."""
    own = load_key(key)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        member = member_of(space.coop, own)
        before = space.coop.find(previous).id if previous else None
        payload = {"kind": kind, "subject": keep_text(space, file.read_bytes()), "previous": before}
        if reasons is not None:
            payload["reasons"] = keep_reason(space, reasons_in(reasons))
        statement = drafts.say(space.coop, "coop.draft/v1", payload, key=own, author=member, draft=draft)
    if statement is None:
        session.show({"draft": str(draft)}, f"drafted {draft}; sign it, then: coop append {draft}")
    else:
        session.show(
            {"draft": statement.id, "subject": payload["subject"]}, f"draft {statement.id}\nnext: coop propose {kind} ... --from-draft {statement.id[7:19]}"
        )


@draft.command(name="list")
@click.pass_obj
def list_drafts(session: Session) -> None:
    """List the drafts in the log, newest last."""
    with open_workspace(session.folder, read_only=True) as space:
        rows = [{"draft": d.id, "kind": d.kind, "subject": d.subject, "author": d.author, "previous": d.previous} for d in space.coop.register.drafts.values()]
    lines = [f"{str(row['draft'])[7:19]}  {row['kind']:<12} after {str(row['previous'] or 'nothing')[:19]}  by {row['author']}" for row in rows]
    session.show({"drafts": rows}, "\n".join(lines) or "no draft is logged yet: coop draft add KIND FILE")


@draft.command()
@click.argument("old")
@click.argument("new")
@click.pass_obj
def diff(session: Session, old: str, new: str) -> None:
    """Show what changed from draft OLD to draft NEW, line by line."""
    with open_workspace(session.folder, read_only=True) as space:
        before, after = _lines(space, old), _lines(space, new)
    changes = list(difflib.unified_diff(before, after, old, new, lineterm=""))
    session.show({"changes": changes}, "\n".join(changes) or "the same text")


def _lines(space: Workspace, prefix: str) -> list[str]:
    identifier = space.coop.find(prefix).id
    found = space.coop.register.drafts.get(identifier)
    if found is None:
        raise BadInput("this statement is no draft", value=prefix, next="coop draft list")
    data = read_text(space, found.subject)
    if data is None:
        raise BadInput("the text of this draft is not in this folder", value=found.subject, allowed=str(space.texts), next="ask its author for the file")
    text = data.decode("utf-8", errors="replace")
    if text.startswith("{") and "\n" not in text:  # a canonical document is one line: a comma each tells more
        text = text.replace(",", ",\n")
    return ["".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line) for line in text.splitlines()]

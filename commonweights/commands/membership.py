"""`coop join`, `coop sign`, `coop append`: statements that several people sign."""

from __future__ import annotations

import json
from pathlib import Path

import click

from commonweights import drafts
from commonweights.cli import Session
from commonweights.founding import new_member_id
from commonweights.options import key_option
from commonweights.workspace import load_key, open_workspace
from governance_hooks.errors import Refused
from governance_hooks.sshsig import PrivateKey
from governance_hooks.statement import body

__all__ = ["append", "join", "sign"]


@click.command()
@key_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("join.json"), show_default=True, help="Where to write the request.")
@click.pass_obj
def join(session: Session, key: Path | None, out: Path) -> None:
    """Ask to become a member with your own key.

    Writes a request signed by your key. Registrars add their signatures with `coop sign`, and anybody appends it.
    No name is asked for: in the log you are a random pseudonym. With the .pub of a FIDO key or a passkey, that key signs the
    request elsewhere (`ssh-keygen -Y sign -n coop-statement@v1`).
    """
    own = load_key(key)
    with open_workspace(session.folder, read_only=True) as space:
        register = space.coop.register
        if own.public.raw in register.known_keys:
            raise Refused("this key belongs to a member already", value=register.known_keys[own.public.raw], next="coop status")
        member = new_member_id()
        payload = {"member": member, "key": own.public.line}
        drafts.write_draft(out, body("coop.admission/v1", payload, coop=register.coop, author=member))
        if isinstance(own, PrivateKey):
            drafts.add_signature(out, own)
        needed = register.bylaws.registrars_required
    unsigned = "" if isinstance(own, PrivateKey) else ", still to be signed by your key"
    text = f"you would be {member}; request in {out}{unsigned}\nnext: {needed} registrars run  coop sign {out} --key THEIR_KEY\nthen: coop append {out}"
    session.show({"member": member, "draft": str(out), "registrars_required": needed}, text)


@click.command()
@click.argument("draft", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--yes", is_flag=True, help="Do not show the statement and ask.")
@key_option
@click.pass_obj
def sign(session: Session, draft: Path, yes: bool, key: Path | None) -> None:
    """Show the statement in DRAFT, and add your signature to it.

    The same as `ssh-keygen -Y sign -n coop-statement@v1 -f KEY DRAFT`, which shows nothing.
    """
    made = drafts.read_body(draft)
    if not yes:
        click.echo(json.dumps(made, indent=2, ensure_ascii=True), err=True)
        click.confirm(f"Sign this {made.get('type')} of {made.get('author')}?", abort=True, err=True)
    target = drafts.add_signature(draft, load_key(key))
    session.show(
        {"signature": str(target), "type": made.get("type")}, f"signed {made.get('type')}: {target}\nnext: coop append {draft}  (when all have signed)"
    )


@click.command()
@click.argument("draft", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.pass_obj
def append(session: Session, draft: Path) -> None:
    """Put the statement in DRAFT, with the signatures beside it, into the log."""
    with open_workspace(session.folder) as space:
        statement = drafts.finish(space.coop, draft)
        position = space.coop.register.size - 1
    session.show({"statement": statement.id, "type": statement.type, "position": position}, f"{statement.type} is entry {position}: {statement.id}")

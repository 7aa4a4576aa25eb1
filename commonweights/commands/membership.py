"""`coop join`, `coop sign`, `coop append`: statements that several people sign; `coop decline`: a request that a registrar does not sign."""

from __future__ import annotations

import json
from pathlib import Path

import click

from commonweights import drafts
from commonweights.cli import Session
from commonweights.founding import new_member_id
from commonweights.options import draft_option, key_option
from commonweights.workspace import load_key, member_of, open_workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.requests import ABOUT, REASONS, Opening, new_salt
from governance_hooks.sshsig import PrivateKey
from governance_hooks.statement import body

__all__ = ["append", "decline", "join", "sign"]


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


@click.command()
@click.argument("request", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--reason", type=click.Choice(REASONS), required=True, help="Why; there is no room for other words.")
@key_option
@draft_option
@click.pass_obj
def decline(session: Session, request: Path, reason: str, key: Path | None, draft: Path | None) -> None:
    """State in the log that you decline the REQUEST of somebody to join, or for a new key (registrars).

    The log names the request by a salted digest, so that nobody learns who asked. What opens it is written beside the request, as
    REQUEST.declined.json: send it to whoever asked, who can then find the entry. Other registrars can agree all the same (`coop sign`), and
    any member can ask all members instead (`coop propose admission`).
    """
    own, value = load_key(key), drafts.read_body(request)
    about = ABOUT.get(str(value.get("type")) if isinstance(value, dict) else "")
    with open_workspace(session.folder, read_only=draft is not None) as space:
        if about is None or value.get("coop") != space.coop.register.coop:
            raise BadInput("this is no request to join this cooperative, nor for a new key", value=str(request), allowed=", ".join(ABOUT))
        if (statement := sha256(request.read_bytes())) in space.coop.register.seen:
            raise Refused("this request was granted", value=statement, next="coop log show " + statement[7:19])
        opened = Opening(salt=new_salt(), statement=statement)
        payload = {"request": opened.digest, "about": about, "reason": reason}
        target = request.with_name(request.name + ".declined.json")
        if target.exists():
            raise BadInput(f"{target} exists already: this request was declined before", next="a registrar who agrees signs the request: coop sign")
        write_bytes(target, opened.dumps(), mode=0o600)  # first: without its salt nobody could ever say which request an entry is about
        try:
            made = drafts.say(space.coop, "coop.decline/v1", payload, key=own, author=member_of(space.coop, own), draft=draft)
        except CoopError:
            target.unlink()
            raise
    shown = {"declined": made.id if made else None, "request": opened.digest, "opening": str(target)}
    what = f"declined ({reason}): {made.id}" if made else f"drafted {draft}; sign it, then: coop append {draft}"
    session.show(shown, f"{what}\nwhoever asked can find it with {target}: send it to them, and to nobody else")

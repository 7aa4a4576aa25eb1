"""`coop key`: list, add, revoke, rotate and recover keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights import drafts
from commonweights.cli import Session
from commonweights.cosigning import together
from commonweights.options import draft_option, key_option
from commonweights.workspace import load_key, member_of, open_workspace
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput
from governance_hooks.sshsig import PrivateKey, PublicKey, Signer
from governance_hooks.statement import body

__all__ = ["key"]

_new = click.argument("new", type=click.Path(path_type=Path, exists=True, dir_okay=False))


@click.group()
def key() -> None:
    """List, add, revoke, rotate and recover keys.

    Have two keys: one lost key is then no trouble. NEW is a private ed25519 file, or the .pub of a key that signs elsewhere: a
    FIDO key (`ssh-keygen -t ed25519-sk`), a passkey, another machine. With a .pub, give --draft; then let that key sign the draft.
    """


@key.command(name="list")
@click.argument("member", required=False)
@key_option
@click.pass_obj
def list_keys(session: Session, member: str | None, key: Path | None) -> None:
    """List the keys of MEMBER [default: yours], their guardians, and a pending recovery."""
    with open_workspace(session.folder, read_only=True) as space:
        register = space.coop.register
        identifier = member or member_of(space.coop, load_key(key))
        found, pending = register.member(identifier), register.recoveries.get(identifier)
        raws = [raw for raw, owner in register.known_keys.items() if owner == identifier]
    rows: list[dict[str, Any]] = []
    for raw in raws:
        public = PublicKey.from_raw(raw)
        state = "in force" if raw in found.keys else "pending" if pending is not None and pending.key == raw else "not in force"
        rows.append({"type": "passkey" if public.passkey else public.kind, "fingerprint": public.fingerprint, "line": public.line, "state": state})
    lines = [identifier, *(f"  {row['state']:<12}  {row['fingerprint']}  {row['type']}" for row in rows)]
    lines.append(f"  guardians: {', '.join(sorted(found.guardians)) or 'none'}")
    if pending is not None:
        lines.append(f"  recovery {pending.id}: {'in effect from ' + pending.due if pending.due else 'its delay has not begun'}; against it: coop key cancel")
    recovery = {"recovery": pending.id, "due": pending.due} if pending is not None else None
    session.show({"member": identifier, "keys": rows, "guardians": sorted(found.guardians), "recovery": recovery}, "\n".join(lines))


@key.command()
@_new
@key_option
@draft_option
@click.pass_obj
def add(session: Session, new: Path, key: Path | None, draft: Path | None) -> None:
    """Add the key NEW to yours; a key of yours and the new key sign."""
    own, fresh = load_key(key), load_key(new)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        author = member_of(space.coop, own)
        _together(session, space.coop, "coop.key/v1", {"action": "add", "key": fresh.public.line}, author, [own, fresh], draft)


@key.command()
@click.argument("old")
@key_option
@draft_option
@click.pass_obj
def revoke(session: Session, old: str, key: Path | None, draft: Path | None) -> None:
    """Revoke your key OLD, given as a fingerprint (`SHA256:...`, see `coop key list`) or as a key file."""
    own = load_key(key)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        author = member_of(space.coop, own)
        payload = {"action": "revoke", "key": _own_key(space.coop, author, old).line}
        _together(session, space.coop, "coop.key/v1", payload, author, [own], draft)


@key.command()
@_new
@click.option("--old", help="The key to put out of force: a fingerprint or a key file [default: the one you sign with].")
@key_option
@draft_option
@click.pass_obj
def rotate(session: Session, new: Path, old: str | None, key: Path | None, draft: Path | None) -> None:
    """Put the key NEW in the place of an old one, in one statement; a key of yours and the new key sign."""
    own, fresh = load_key(key), load_key(new)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        author = member_of(space.coop, own)
        replaced = own.public if old is None else _own_key(space.coop, author, old)
        _together(session, space.coop, "coop.rotation/v1", {"old": replaced.line, "new": fresh.public.line}, author, [own, fresh], draft)


@key.command()
@click.argument("members", nargs=-1)
@click.option("--none", "nobody", is_flag=True, help="Name nobody; registrars can still recover your key.")
@key_option
@draft_option
@click.pass_obj
def guardians(session: Session, members: tuple[str, ...], nobody: bool, key: Path | None, draft: Path | None) -> None:
    """Name the MEMBERS who together may give you a new key when you lose yours."""
    if bool(members) == nobody:
        raise BadInput("name guardians by member id, or --none", next="coop key guardians MEMBER MEMBER")
    own = load_key(key)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        author = member_of(space.coop, own)
        _together(session, space.coop, "coop.guardians/v1", {"guardians": sorted(set(members))}, author, [own], draft)


@key.command()
@click.argument("member")
@_new
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("recovery.json"), show_default=True, help="Where to write the request.")
@click.pass_obj
def recover(session: Session, member: str, new: Path, out: Path) -> None:
    """Ask for the key NEW for MEMBER, whose keys are lost.

    Writes a request. Registrars, or guardians MEMBER named, sign it with `coop sign`, and anybody appends it. After a delay NEW is
    the only key in force; until then every old key still counts, and cancels it.
    """
    fresh = load_key(new)
    with open_workspace(session.folder, read_only=True) as space:
        register = space.coop.register
        found = register.member(member)
        made = body("coop.recovery/v1", {"member": found.id, "key": fresh.public.line}, coop=register.coop, author=found.id)
        bylaws = register.bylaws
    drafts.write_draft(out, made)
    if isinstance(fresh, PrivateKey):
        drafts.add_signature(out, fresh)
    value: dict[str, Any] = {"draft": str(out), "required": bylaws.recovery_required, "delay_s": bylaws.recovery_delay_s, "guardians": sorted(found.guardians)}
    lines = [
        f"request in {out}" + ("" if isinstance(fresh, PrivateKey) else ", still to be signed by the new key"),
        f"next: {bylaws.recovery_required} registrars, or guardians ({', '.join(value['guardians']) or 'none named'}), run  coop sign {out} --key THEIR_KEY",
        f"then: coop append {out}; it takes effect {bylaws.recovery_delay_s} s after the operator's next: coop log stamp",
    ]
    session.show(value, "\n".join(lines))


@key.command()
@key_option
@draft_option
@click.pass_obj
def cancel(session: Session, key: Path | None, draft: Path | None) -> None:
    """Cancel a recovery of your keys that you did not ask for."""
    own = load_key(key)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        author = member_of(space.coop, own)
        pending = space.coop.register.recoveries.get(author)
        if pending is None:
            raise BadInput("no recovery of your keys is pending", value=author, next="coop key list")
        _together(session, space.coop, "coop.recovery-cancel/v1", {"recovery": pending.id}, author, [own], draft)


def _own_key(coop: Cooperative, member: str, given: str) -> PublicKey:
    keys = {key.fingerprint: key for key in map(PublicKey.from_raw, coop.register.member(member).keys)}
    wanted = given if given.startswith("SHA256:") else load_key(Path(given)).public.fingerprint
    if wanted not in keys:
        raise BadInput("this is no key of yours that is in force", value=given, allowed=", ".join(sorted(keys)), next="coop key list")
    return keys[wanted]


def _together(session: Session, coop: Cooperative, kind: str, payload: dict[str, Any], author: str, keys: list[Signer], draft: Path | None) -> None:
    statement = together(session, coop, kind, payload, author, keys, draft)
    if statement is not None:
        position = coop.register.size - 1
        session.show({"statement": statement.id, "position": position, "member": author}, f"{kind} is entry {position}: {statement.id}")

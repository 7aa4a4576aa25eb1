"""`coop log cosign` and `coop log witnesses`: the operator asks the witnesses whom the bylaws name."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.workspace import open_workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.errors import BadInput, CoopError

__all__ = ["cosign", "witnesses"]


@click.command()
@click.option("--witness", "names", multiple=True, help="Name of a witness; again for more [default: all that have an address].")
@click.option("--request", type=click.Path(path_type=Path, dir_okay=False), help="Write the request for one --witness into FILE instead of sending it.")
@click.option("--old", type=click.IntRange(0), help="With --request: the size this witness says it has [default: what we know].")
@click.option("--answer", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Take in the FILE a witness sent back.")
@click.pass_obj
def cosign(session: Session, names: tuple[str, ...], request: Path | None, old: int | None, answer: Path | None) -> None:
    """Have the witnesses cosign the newest checkpoint (operator), over HTTP or by files.

    \b
    coop log cosign                                      all witnesses with an address
    coop log cosign --witness W --request to-w.txt       for W: they run coop witness cosign DIR to-w.txt --out back.txt
    coop log cosign --answer back.txt
    """
    if (answer and (request or names)) or (old is not None and not request) or (request and len(names) != 1):
        raise BadInput("choose one: --request FILE --witness NAME, or --answer FILE, or neither", next="coop log cosign --help")
    from commonweights import witnesses as own
    from governance_hooks.note import MAX_NOTE
    from governance_hooks.witness.collect import accept_note, request_for, witness_of

    with open_workspace(session.folder) as space:
        if request:
            known = space.coop.log.cosigned_size(witness_of(space.coop, names[0]).name) if old is None else old
            write_bytes(request, request_for(space.coop, space.coop.log.checkpoint(), known))
            session.show(
                {"request": str(request), "old": known}, f"{request}: send it to {names[0]}; they run: coop witness cosign DIR {request.name} --out FILE"
            )
            return
        if answer:
            if answer.stat().st_size > MAX_NOTE:
                raise BadInput(f"{answer} is too long for a note", allowed=f"{MAX_NOTE} bytes")
            outcomes = accept_note(space.coop, answer.read_bytes().decode("utf-8", "replace"))
        else:
            outcomes = own.cosign(space, names or None)
        lines = [f"  {name}: {'cosigned' if o.time is not None else 'no: ' + o.problem}" for name, o in sorted(outcomes.items())]
        try:
            enough, words = True, own.standing(space).words
        except CoopError as error:
            enough, words = False, error.what
    if not outcomes:
        lines = ["no witness has an address here; coop log witnesses shows them, coop log witnesses add NAME URL adds one"]
    value = {name: {"time": o.time, "problem": o.problem or None} for name, o in sorted(outcomes.items())}
    session.show({"witnesses": value, "enough": enough, "standing": words}, "\n".join([*lines, words]))
    if not enough or any(o.time is None for o in outcomes.values()):
        raise click.exceptions.Exit(1)


@click.group(invoke_without_command=True)
@click.pass_context
def witnesses(ctx: click.Context) -> None:
    """List the witnesses of the bylaws, where they answer and what they cosigned; `add` and `remove` keep their addresses on this machine."""
    if ctx.invoked_subcommand is not None:
        return
    session: Session = ctx.obj
    from commonweights import witnesses as own

    with open_workspace(session.folder, read_only=True) as space:
        policy, urls, log_key = space.coop.register.bylaws.policy, own.read_urls(space), space.coop.register.log_key.text
        rows = [{"name": w.name, "key": w.text, "url": urls.get(w.name), "cosigned": space.coop.log.cosigned_size(w.name)} for w in policy.witnesses]
        size = space.coop.register.size
    lines = [f"{r['name']}\n  {r['url'] or 'no address here'}\n  newest cosignature kept: {r['cosigned']} of {size} entries" for r in rows]
    lines.append(f"{policy.required} of {len(rows)} required by the bylaws; what a witness has to trust: {log_key}")
    session.show({"witnesses": rows, "required": policy.required, "log": log_key}, "\n".join(lines))


@witnesses.command()
@click.argument("name")
@click.argument("url")
@click.pass_obj
def add(session: Session, name: str, url: str) -> None:
    """Note that the witness NAME of the bylaws answers at URL (its submission prefix)."""
    from commonweights import witnesses as own
    from governance_hooks.witness.client import check_url
    from governance_hooks.witness.collect import witness_of

    with open_workspace(session.folder, read_only=True) as space:
        witness_of(space.coop, name)
        own.write_urls(space, own.read_urls(space) | {name: check_url(url)})
    session.show({"name": name, "url": url}, f"{name} answers at {url}; next: coop log cosign")


@witnesses.command()
@click.argument("name")
@click.pass_obj
def remove(session: Session, name: str) -> None:
    """Forget the address of the witness NAME; the bylaws still name it."""
    from commonweights import witnesses as own

    with open_workspace(session.folder, read_only=True) as space:
        urls = own.read_urls(space)
        if urls.pop(name, None) is None:
            raise BadInput("no address is known of this witness", value=name, next="coop log witnesses")
        own.write_urls(space, urls)
    session.show({"name": name}, f"{name} has no address here any more")

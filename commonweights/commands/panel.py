"""`coop panel`: citizens' panels drawn by lot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights import drafts
from commonweights.cli import Session
from commonweights.options import draft_option, key_option
from commonweights.people import People
from commonweights.table import finish
from commonweights.workspace import load_key, member_of, open_workspace

__all__ = ["panel"]

_existing = click.Path(path_type=Path, exists=True, dir_okay=False)
targets_option = click.option("--targets", type=_existing, required=True, help="CSV feature,value,min,max: how many of each kind the panel has.")
private_option = click.option("--private", type=_existing, help="CSV id,feature,...: features that are not in the log; only its digest goes in.")


@click.group()
def panel() -> None:
    """Panels drawn by lot, so that a few speak for all: open one, draw it, and draw it again to check.

    Features from the log: language (of most contributed texts) and joined (founder, later).
    """


@panel.command("open")
@click.option("--subject", type=_existing, required=True, help="The document the panel is about; its digest goes into the log.")
@click.option("--seats", type=click.IntRange(1), required=True, help="How many are drawn.")
@targets_option
@private_option
@click.option("--purpose", type=click.Choice(["advice", "oversight"]), default="advice", show_default=True, help="Oversight needs witnesses in the bylaws.")
@click.option("--algorithm", type=click.Choice(["maximin", "legacy"]), default="maximin", show_default=True, help="legacy: fast, chances less even.")
@click.option("--delay", "delay_s", type=click.IntRange(1), default=86_400, show_default=True, help="The draw comes so many seconds from now, or later.")
@key_option
@draft_option
@click.pass_obj
def open_(
    session: Session, /, subject: Path, seats: int, targets: Path, private: Path | None, delay_s: int, key: Path | None, draft: Path | None, **how: Any
) -> None:
    """Open a panel (any member): freezes the pool, the targets and the program's versions before the seed exists."""
    from governance_hooks.canonical import sha256
    from governance_hooks.sortition.draw import Sortition
    from governance_hooks.sortition.pool import check_targets, pool_rows
    from governance_hooks.statement import shift
    from governance_hooks.tally import roll_root

    own, extra = load_key(key), private.read_bytes() if private else None
    with open_workspace(session.folder, read_only=draft is not None) as space:
        member, register = member_of(space.coop, own), space.coop.register
        columns, _ = pool_rows(register, extra)
        check_targets(targets.read_bytes(), columns, seats)
        pool = register.active()
        payload = how | {
            "subject": sha256(subject.read_bytes()),
            "seats": seats,
            "pool": {"root": roll_root(pool), "members": len(pool)},
            "targets": sha256(targets.read_bytes()),
            "private_features": None if extra is None else sha256(extra),
            "engine": Sortition.find().engine,
            "draw_at": shift(space.coop.clock(), delay_s),
        }
        statement = drafts.say(space.coop, "coop.panel/v1", payload, key=own, author=member, draft=draft)
    if statement is None:
        session.show({"draft": str(draft)}, f"drafted {draft}; sign it, then: coop append {draft}")
        return
    text = f"panel {statement.id}\n  {seats} of {len(pool)} members, drawn at {payload['draw_at']} or later\nnext, then: coop log stamp, coop panel draw {statement.id[7:19]} --targets {targets}"
    session.show({"panel": statement.id, "pool": len(pool), "seats": seats, "draw_at": payload["draw_at"]}, text)


@panel.command()
@click.argument("panel_id", metavar="PANEL")
@targets_option
@private_option
@click.pass_obj
def draw(session: Session, panel_id: str, targets: Path, private: Path | None) -> None:
    """Draw a panel whose time has come (operator): states the time if nobody did, then draws once and logs it."""
    from governance_hooks.errors import Refused
    from governance_hooks.sortition.draw import Sortition
    from governance_hooks.sortition.seed import witness_lines
    from governance_hooks.sortition.verifier import draw_panel, find_panel

    with open_workspace(session.folder) as space:
        coop = space.coop
        found = find_panel(coop.register, panel_id)
        if found.selected:
            raise Refused("this panel is drawn already: there is no second draw", value=found.id, next=f"coop panel verify {panel_id}")
        if found.seed_size is None:
            if coop.clock() < found.draw_at:
                raise Refused("the time of this draw has not come", value=coop.clock(), allowed=f"{found.draw_at} or later")
            coop.operate("coop.time/v1", {})
            found = find_panel(coop.register, panel_id)
        note = next((text for size, text in coop.log.checkpoints(found.seed_size or 0) if size == found.seed_size), None)
        if note is None:
            raise Refused("the log has no checkpoint of the size that seeds this draw", value=found.seed_size)
        selected = draw_panel(coop.proof(), found, note, targets.read_bytes(), private.read_bytes() if private else None, Sortition.find())
        statement = coop.operate("coop.draw/v1", {"panel": found.id, "checkpoint": note, "selected": selected})
        people = People(space.people)
    witnessed = len(witness_lines(note))
    warning = "" if witnessed else "\nNOT grinding-proof without a witness: whoever writes the log could have tried many seeds"
    text = (
        "\n".join(f"  {people.show(member)}" for member in selected)
        + f"{warning}\nanybody draws it again: coop panel verify {found.id[7:19]} --targets {targets}"
    )
    session.show({"draw": statement.id, "panel": found.id, "selected": selected, "witnesses": witnessed}, f"drawn by {found.algorithm}:\n{text}")


@panel.command()
@click.argument("panel_id", metavar="PANEL")
@targets_option
@private_option
@click.option("--proof", "proof_file", type=_existing, help="A proof of the log (coop proof) instead of a cooperative's folder.")
@click.option("--pin", help="With --proof: digest of the founding statement of the cooperative you trust (sha256:...).")
@click.pass_obj
def verify(session: Session, panel_id: str, targets: Path, private: Path | None, proof_file: Path | None, pin: str | None) -> None:
    """Draw a panel again from the log: pool, features and seed are recomputed, and the same members must come out."""
    from governance_hooks.errors import BadInput
    from governance_hooks.proof import read_proof
    from governance_hooks.sortition.draw import Sortition
    from governance_hooks.sortition.verifier import find_panel, verify_panel

    try:
        program = Sortition.find()
    except BadInput as error:
        program = None
        click.echo(f"note: {error.what}", err=True)
    if proof_file:
        proof = read_proof(proof_file.read_bytes())
        register = proof.replay(pin).register
    else:
        with open_workspace(session.folder, read_only=True) as space:
            proof, register = space.coop.proof(), space.coop.register
    report = verify_panel(proof, register, find_panel(register, panel_id), targets.read_bytes(), private.read_bytes() if private else None, program)
    finish(session, report, good="The panel is the one the lot drew.", bad="This panel does NOT hold.")


@panel.command()
@click.argument("panel_id", metavar="PANEL", required=False)
@click.pass_obj
def show(session: Session, panel_id: str | None) -> None:
    """List the panels, or show one: its pool by feature, its seed, and who was drawn."""
    from collections import Counter

    from governance_hooks.sortition.pool import FEATURES, pool_rows
    from governance_hooks.sortition.verifier import find_panel

    with open_workspace(session.folder, read_only=True) as space:
        if panel_id is None:
            rows = [
                {"panel": one.id, "purpose": one.purpose, "seats": one.seats, "pool": len(one.pool), "draw_at": one.draw_at, "drawn": bool(one.selected)}
                for one in space.coop.register.panels.values()
            ]
            lines = [
                f"{str(row['panel'])[7:19]}  {row['purpose']:<9}  {row['seats']} of {row['pool']}  {'drawn' if row['drawn'] else row['draw_at']}"
                for row in rows
            ]
            session.show({"panels": rows}, "\n".join(lines) or "no panel yet")
            return
        found = find_panel(space.coop.register, panel_id)
        _, pool = pool_rows(space.coop.proof().fold(found.opened))
        counts = {feature: dict(sorted(Counter(row[feature] for row in pool).items())) for feature in FEATURES}
        people = People(space.people)
    lines = [f"panel {found.id}", f"  {found.purpose}, {found.seats} of {len(found.pool)}, {found.algorithm}", f"  {found.engine}"]
    lines += [f"  {feature}: {', '.join(f'{value} {count}' for value, count in values.items())}" for feature, values in counts.items()]
    lines += [f"  drawn: {people.show(member)}" for member in found.selected] or [f"  not drawn yet; {found.draw_at} or later"]
    value = {"panel": found.id, "purpose": found.purpose, "seats": found.seats, "pool": counts, "engine": found.engine, "selected": list(found.selected)}
    session.show(value, "\n".join(lines))

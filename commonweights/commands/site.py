"""`coop site`: the clusters somebody lends, and the book of what they were used for."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.people import People
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.plan import Limits, read_plan
from governance_hooks.sshsig import PublicKey, load_public_key

__all__ = ["site"]


@click.group()
def site() -> None:
    """Clusters that members or partners lend: name them in the log, and keep the book of what they were used for.

    \b
    coop site add north --key north.pub --lender MEMBER --device h100 --device-hours 500
    coop site book --svg book.svg

    The key is made on the cluster (coop slurm install) and stays there. With it a site starts what members approved and says what that used; nothing else.
    """


@site.command()
@click.argument("name")
@click.option("--key", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True, help="The site's public key (ssh-ed25519).")
@click.option("--lender", metavar="MEMBER", help="The member who lends it [default: a partner, or the cooperative itself].")
@click.option("--device", metavar="NAME", help="What it computes on, for example h100.")
@click.option("--device-hours", type=click.IntRange(1), help="Device-hours lent in all [default: no limit is known].")
@click.pass_obj
def add(session: Session, name: str, key: Path, lender: str | None, device: str | None, device_hours: int | None) -> None:
    """Name the site NAME and its key in the log, or say something new about it: the last statement stands, and says everything.

    \b
    coop site add north --key north.pub --lender MEMBER --device h100 --device-hours 500
    """
    line = load_public_key(key).line
    with open_workspace(session.folder) as space:
        payload = {"site": name, "key": line, "lender": lender, "device": device, "device_hours": device_hours}
        made = space.coop.operate("coop.site/v1", payload)
        profile = space.root / "sites" / f"{name}.yaml"
    fingerprint = PublicKey.from_line(line).fingerprint
    next_ = "coop submit PLAN --site " + name if profile.is_file() else f"write {profile}"
    session.show(
        {"site": name, "statement": made.id, "fingerprint": fingerprint},
        f"site {name} {fingerprint}\ncompare the fingerprint with the one the site's admin reads to you\nnext: {next_}",
    )


@site.command()
@click.argument("name")
@click.pass_obj
def retire(session: Session, name: str) -> None:
    """Retire the site NAME: it starts nothing more, and nothing it signs is taken any more. Collect before: coop collect --site NAME.

    \b
    coop site retire north
    """
    with open_workspace(session.folder) as space:
        known = space.coop.register.sites.get(name)
        if known is None or known.key is None:
            raise BadInput("there is no such site to retire", value=name, allowed=", ".join(_names(space)) or "none is known yet", next="coop site list")
        payload = {"site": name, "key": None, "lender": known.lender, "device": known.device, "device_hours": known.device_hours}
        made = space.coop.operate("coop.site/v1", payload)
    session.show({"site": name, "statement": made.id}, f"site {name} is retired")


@site.command(name="list")
@click.pass_obj
def list_sites(session: Session) -> None:
    """List the sites: key, lender, device, and whether there is a profile to submit with.

    \b
    coop site list
    """
    with open_workspace(session.folder, read_only=True) as space:
        people = People(space.people)
        rows = [
            {
                "site": one.name,
                "fingerprint": PublicKey.from_raw(one.key).fingerprint if one.key is not None else None,
                "lender": one.lender,
                "device": one.device,
                "device_hours": one.device_hours,
                "profile": (space.root / "sites" / f"{one.name}.yaml").is_file(),
            }
            for one in space.coop.register.sites.values()
        ]
        lines = [
            f"{row['site']:<16}  {row['fingerprint'] or 'retired'}\n"
            f"{'':<16}  {'lent by ' + people.show(str(row['lender'])) if row['lender'] else 'lent by a partner, or our own'}"
            f", {row['device'] or 'device not said'}{', profile' if row['profile'] else ', no profile'}"
            for row in rows
        ]
    session.show({"sites": rows}, "\n".join(lines) or "no site is known yet\nnext: coop site add NAME --key FILE")


@site.command()
@click.option("--svg", "out", type=click.Path(path_type=Path, dir_okay=False), help="Draw it too; the drawing names lenders by their ids.")
@click.pass_obj
def book(session: Session, out: Path | None) -> None:
    """Show which cluster hours were lent and for which vote they were used, and what each vote has left; from the log alone.

    \b
    coop site book --svg book.svg
    """
    from commonweights.book_view import book_svg, book_text
    from slurm.book import keep_book

    with open_workspace(session.folder, read_only=True) as space:
        kept = keep_book(space.coop.register, _limits(space))
        text = book_text(kept, People(space.people).show)
        title = f"Compute book of {space.coop.register.name}"
    if out is not None:
        write_bytes(out, book_svg(kept, title).encode())
    session.show(kept.as_dict() | ({"svg": str(out)} if out else {}), text + (f"\ndrawing  {out}" if out else ""))


def _names(space: Workspace) -> list[str]:
    return [one.name for one in space.coop.register.sites.values() if one.key is not None]


def _limits(space: Workspace) -> dict[str, Limits]:
    """Return what plans of runs allow, by digest, of those whose file is here and is the one that was voted on."""
    from slurm.outbox import read_small
    from slurm.qos import MAX_PLAN

    wanted, found = {run.plan for run in space.coop.register.runs.values()}, {}
    for path in [*space.root.glob("plans/*.json"), *space.root.glob("runs/*/plan.json")]:
        try:
            data = read_small(path, MAX_PLAN)
            if sha256(data) in wanted:
                found[sha256(data)] = read_plan(data).limits
        except CoopError:
            continue
    return found

"""`coop slurm`: for the admins of a cluster who lend it to a cooperative."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.commands.qos import qos
from governance_hooks.errors import CoopError
from governance_hooks.statement import now

__all__ = ["slurm"]

_site = click.option(
    "--site", "folder", type=click.Path(path_type=Path, file_okay=False), default="/var/lib/coop-site", show_default=True, help="The site's folder."
)


@click.group()
def slurm() -> None:
    """Enforce members' votes on a SLURM cluster: what was not voted on does not start in a gated partition.

    \b
    coop slurm install --name NAME --pin DIGEST --gated PARTITION    shows what changes in slurm.conf, asks, writes
    coop slurm check                                                 tries on the live cluster that a job without a vote is refused
    coop slurm sync --watch 10                                       the controller's part between jobs; run it as SlurmUser
    coop slurm uninstall                                             takes it out again, byte for byte
    """


slurm.add_command(qos)


def _require_root() -> None:
    if os.geteuid() != 0:
        raise CoopError("this needs root: it writes SLURM's configuration, or tries what only an admin can", next="sudo coop slurm ...")


@slurm.command()
@click.option("--name", required=True, help="The site's name, as the cooperative will call it.")
@click.option("--pin", required=True, help="Digest of the cooperative's founding statement: sha256 and 64 hexadecimal digits. Compare it by another way.")
@click.option("--gated", required=True, multiple=True, help="A partition in which nothing starts without a vote; may be given again.")
@click.option("--conf", type=click.Path(path_type=Path, dir_okay=False), default="/etc/slurm/slurm.conf", show_default=True, help="slurm.conf.")
@_site
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), default="/etc/coop-site/key", show_default=True, help="The site's key; made if absent.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.pass_obj
def install(session: Session, name: str, pin: str, gated: tuple[str, ...], conf: Path, folder: Path, key: Path, yes: bool) -> None:
    """Install the enforcement on the controller: hooks, the site's folder and key, and lines in slurm.conf. May be run again.

    \b
    coop slurm install --name north --pin sha256:... --gated gpu
    """
    from slurm.install import Installation

    _require_root()
    planned = Installation.plan(name=name, coop=pin, gated=list(gated), conf=conf, folder=folder, key=key)
    diff, changes = planned.diff(), planned.changes()
    if changes and not session.json:
        click.echo((diff or f"{conf} stays as it is.\n") + "".join(f"writes {path}\n" for path in changes if path != conf))
    if changes and not yes and not click.confirm("Write this?"):
        raise click.Abort
    planned.apply()
    done = f"installed; {len(changes)} files written" if changes else "installed already; nothing changed"
    text = (
        f"{done}\nsite key: {planned.site.key}\nnext: restart slurmctld, copy slurm.conf and {planned.site.hooks} to nodes with disks of their own, scontrol reconfigure;"
        f"\n      send the operator the line above (coop site add {name} --key ...); then coop slurm check"
    )
    session.show({"changed": [str(path) for path in changes], "key": planned.site.key, "diff": diff}, text)


@slurm.command()
@_site
@click.pass_obj
def check(session: Session, folder: Path) -> None:
    """Check on the live cluster that what has no vote is refused, and say who could still pass by.

    \b
    coop slurm check
    """
    from slurm.check import BYPASS
    from slurm.check import check as check_site
    from slurm.install import Installation

    _require_root()
    found = Installation.of(folder)
    os.environ.update(SLURM_CONF=found.site.slurm_conf, TZ="UTC")
    report = check_site(found, at=now())
    session.show(
        report.as_dict() | {"bypass": list(BYPASS)}, report.text() + "\n\nWhat no enforcement here prevents:\n" + "\n".join(f"  - {line}" for line in BYPASS)
    )
    if not report.passed:
        raise click.exceptions.Exit(report.exit_code)


@slurm.command()
@_site
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.pass_obj
def uninstall(session: Session, folder: Path, yes: bool) -> None:
    """Take the enforcement out of SLURM again; the site's folder, with its ledger, and its key stay.

    \b
    coop slurm uninstall
    """
    from slurm.install import Installation

    _require_root()
    found = Installation.of(folder)
    if not yes and not click.confirm(f"Take the gate of {', '.join(found.site.gated)} out of {found.site.slurm_conf}?"):
        raise click.Abort
    changed = [str(path) for path in found.remove()]
    session.show(
        {"changed": changed}, "\n".join([*changed, f"next: restart slurmctld, scontrol reconfigure; tell the operator (coop site retire {found.site.site})"])
    )


@slurm.command()
@_site
@click.option("--watch", type=click.IntRange(1, 3600), help="Go on, with a pass every so many seconds.")
@click.pass_obj
def sync(session: Session, folder: Path, watch: int | None) -> None:
    """Take the newest proof, say which orders are in force, account for what ended. Run it as SlurmUser.

    \b
    coop slurm sync --watch 10
    """
    from slurm.site_folder import SiteFolder
    from slurm.sync import sync as sync_site

    while True:
        try:
            done = sync_site(SiteFolder.open(folder), at=now())
        except CoopError as error:
            if watch is None:
                raise
            click.echo(f"{now()} {error.what}", err=True)  # the next pass may go better; meanwhile nothing new is in force
        else:
            good = [one.order for one in done.verdicts if one.why is None]
            bad = {one.order: one.why for one in done.verdicts if one.why is not None}
            lines = [f"{now()} log of {done.entries} entries{', newer than before' * done.taken}; {len(good)} orders in force, {len(bad)} not"]
            lines += [f"{order[:12]} not in force: {why}" for order, why in bad.items()]
            lines += [*(f"{name} ended and is accounted for" for name in done.ended), *done.trouble]
            value = {
                "entries": done.entries,
                "taken": done.taken,
                "in_force": good,
                "not_in_force": bad,
                "ended": list(done.ended),
                "trouble": list(done.trouble),
            }
            session.show(value, "\n".join(lines))
        if watch is None:
            return
        time.sleep(watch)


@slurm.command("write-off")
@click.argument("start", metavar="JOB.RESTART")
@_site
@click.pass_obj
def write_off(session: Session, start: str, folder: Path) -> None:
    """State that a start whose end SLURM did not write down used all the time it was cleared for, so that its run can go on. Run it as SlurmUser.

    `coop slurm check` names such starts. A start that still goes on must be ended first.

    \b
    coop slurm write-off 4711.0
    """
    from slurm.segments import write_off as write_off_start
    from slurm.site_folder import SiteFolder

    opened = SiteFolder.open(folder)
    settled = write_off_start(opened.path, opened.outbox(), start)
    for one in settled:
        opened.note("end", at=now(), job=one.clearance.job, restart=one.clearance.restart, outcome=one.outcome, order=one.clearance.order)
    session.show({"settled": [one.name for one in settled]}, "\n".join(f"{one.name} is accounted for with {one.ended.seconds} s" for one in settled))

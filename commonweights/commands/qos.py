"""`coop slurm qos`: the budget of a vote in SLURM's own accounts."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from commonweights.cli import Session

__all__ = ["qos"]


@click.command()
@click.argument("plan", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--account", help="The account of this cluster whose users may use the QOS.")
@click.option("--apply", "apply_", is_flag=True, help="Run the commands, as an admin of SLURM's accounts.")
@click.pass_obj
def qos(session: Session, plan: Path, account: str | None, apply_: bool) -> None:
    """Show the commands that make the QOS of a PLAN: what its vote allows, as limits SLURM itself keeps to.

    For clusters with accounts (slurmdbd) that enforce them. Jobs then ask for it: `qos: NAME` in the site's profile. The gate counts with or without it.

    \b
    coop slurm qos first --account coop-17
    """
    from slurm.outbox import read_small
    from slurm.qos import MAX_PLAN, apply_qos, read_qos

    found = read_qos(read_small(plan.resolve(), MAX_PLAN))
    commands = [shlex.join(command) for command in found.commands(account)]
    if apply_:
        apply_qos(found, account)
    session.show(
        {
            "qos": found.name,
            "devices": found.devices,
            "minutes": found.minutes,
            "device_minutes": found.device_minutes,
            "commands": commands,
            "applied": apply_,
        },
        "\n".join(commands) + f"\n{'done; ' if apply_ else 'next: the same with --apply; '}jobs ask for it with qos: {found.name} in the site's profile",
    )

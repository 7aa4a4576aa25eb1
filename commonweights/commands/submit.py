"""`coop submit`: send an approved run to a site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights.cli import Session
from commonweights.progress import progress
from commonweights.running import read_plan_file
from commonweights.submitting import Draft, draft, send
from commonweights.table import show_report
from commonweights.voting import find_proposal
from commonweights.workspace import open_workspace
from governance_hooks.report import Blocked
from slurm.job import Submitted

__all__ = ["submit"]


@click.command()
@click.argument("plan")
@click.option("--site", required=True, help="Name of the site; its profile is sites/NAME.yaml in the cooperative's folder.")
@click.option("--run", help="Name of the run [default: the plan's name].")
@click.option("--proposal", help="Start under this approval [default: as coop train].")
@click.option(
    "--base", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of the base weights [default: the profile's, else the cache]."
)
@click.option("--devices", type=click.IntRange(1), help="GPUs, all nodes together [default: the plan's limits.max_devices].")
@click.option("--nodes", type=click.IntRange(1), help="Nodes they are on [default: as few as hold them].")
@click.option("--array", type=click.IntRange(2, 1000), help="A chain of so many jobs, each going on where the one before ran out of time.")
@click.option("--no-eval", is_flag=True, help="Only train; no evaluation and no card after it.")
@click.option("--wait", "wait_s", type=click.IntRange(1, 3600), default=180, show_default=True, help="Seconds to wait for the site to check the orders.")
@click.option("--dry-run", is_flag=True, help="Only show the gate's table and the files; sign and send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def submit(
    session: Session,
    plan: str,
    site: str,
    run: str | None,
    proposal: str | None,
    base: Path | None,
    devices: int | None,
    nodes: int | None,
    array: int | None,
    no_eval: bool,
    wait_s: int,
    dry_run: bool,
    yes: bool,
) -> None:
    """Send the PLAN members approved to a site's SLURM: training, evaluation and card, each waiting for the one before.

    Shows the gate's table and the batch scripts first. Then the operator's orders are signed, one for each job: they allow exactly these scripts. The site
    checks them by the log itself before its queue takes the jobs, and again at every start.

    \b
    coop submit first --site alps --dry-run     look at everything first
    coop submit first --site alps --array 4     four jobs one after the other, if one is too short
    coop jobs                                   how they stand
    """
    with open_workspace(session.folder, read_only=dry_run) as space, progress(quiet=session.json) as show:
        data = read_plan_file(space, plan)
        chosen = find_proposal(space.coop, proposal).id if proposal else None
        report, made = draft(
            space, data, site, run=run, chosen=chosen, base=base, devices=devices, nodes=nodes, array=array, evaluate=not no_eval
        )  # fmt: skip
        if dry_run:
            session.show(_value(made) | {"gate": report.as_dict()}, f"{show_report(report)}\n\n{_files(made)}\n\nnothing was signed or sent")
        if not report.passed and not session.json and not dry_run:
            click.echo(f"{_files(made)}\n", err=True)
        if not report.passed:
            raise Blocked(report)
        if dry_run:
            return
        if not session.json:
            click.echo(f"{show_report(report)}\n\n{_files(made)}\n", err=True)
        if not yes:
            click.confirm(f"Sign {len(made.scripts)} orders as the operator, and send these jobs to {site}?", abort=True, err=True)
        sent = send(space, made, wait_s=wait_s, progress=show)
    session.show(_value(made) | {"jobs": {kind: one.job for kind, one in sent.jobs.items()}}, _sent(made, sent))


def _value(made: Draft) -> dict[str, Any]:
    return {"run": made.job.run, "site": made.job.site, "folder": str(made.folder), "scripts": made.scripts, "devices": made.job.devices}


def _files(made: Draft) -> str:
    """Return the scripts, each under its name."""
    return "\n\n".join(f"== {made.folder / kind}.sbatch\n{text.rstrip()}" for kind, text in made.scripts.items())


def _sent(made: Draft, sent: Submitted) -> str:
    lines = [f"{kind:<6}job {one.job}   order {one.order.removeprefix('sha256:')[:12]}" for kind, one in sent.jobs.items()]
    first = next(iter(sent.jobs.values())).job
    return "\n".join([*lines, f"folder {made.folder}", f"next   coop jobs, or if one does not start: coop jobs why {first}"])

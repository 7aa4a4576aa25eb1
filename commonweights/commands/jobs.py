"""`coop jobs`: the jobs at sites, and why one does not start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights.cli import Session
from commonweights.site_jobs import SiteJob, approval_left, log_tail, said_by_site, site_jobs
from commonweights.workspace import open_workspace
from governance_hooks.errors import BadInput
from slurm.client import JOB, NoSlurm, Queued, queue, show
from slurm.reasons import explain

__all__ = ["jobs"]


@click.group(invoke_without_command=True)
@click.option("--all", "everything", is_flag=True, help="Also jobs SLURM has forgotten.")
@click.pass_context
def jobs(ctx: click.Context, everything: bool) -> None:
    """Show the jobs at sites: queue, plan, what is left of the approval, the end of the log.

    \b
    coop jobs            those SLURM knows
    coop jobs why 4711   why one does not run, in plain words, and what to do
    """
    if ctx.invoked_subcommand is not None:
        return
    session: Session = ctx.obj
    with open_workspace(session.folder, read_only=True) as space:
        sent = site_jobs(space)
        missing = None
        try:
            sent = site_jobs(space, queue([one.sent.job for one in sent]))
        except NoSlurm as error:
            missing = error
        shown = [one for one in sent if everything or missing or one.queued]
        rows = [_row(one, approval_left(space.coop.register, one.folder)) for one in shown]
    if missing is not None:
        click.echo(f"{missing.what}: only what the folders say is shown", err=True)
    session.show({"jobs": rows}, _table(rows) if rows else "no jobs" + ("" if everything else " in the queue; coop jobs --all shows those that are gone"))


@jobs.command()
@click.argument("number")
@click.option("--lines", type=click.IntRange(0, 200), default=10, show_default=True, help="So many lines of its log.")
@click.pass_obj
def why(session: Session, number: str, lines: int) -> None:
    """Say in plain words why job NUMBER does not run, or how it ended, and what to do.

    \b
    coop jobs why 4711
    """
    if not JOB.fullmatch(number):
        raise BadInput("this is no number of a job", value=number, allowed="a number, as coop jobs shows it")
    with open_workspace(session.folder, read_only=True) as space:
        whole = int(number.partition("_")[0])
        mine = [one for one in site_jobs(space) if one.sent.job == whole]
        found = show(number)
        order = found.get("Comment", "").removeprefix("coop:")
        ours = next((one for one in mine if one.sent.order == f"sha256:{order}"), None)
        left = approval_left(space.coop.register, ours.folder) if ours is not None else None
    state, reason = found.get("JobState", "?"), found.get("Reason", "?")
    what, todo = explain(state, reason, number)
    site = [] if ours is None else said_by_site(Path(ours.folder.job.folder), int(found.get("JobId", whole)), ours.sent.order)
    comment = found.get("AdminComment", "")
    value = {
        "job": number, "state": state, "reason": reason, "restarts": int(found.get("Restarts") or 0), "why": what, "next": todo, "site": site, "approval": left,
        "admin_comment": comment, "run": ours.folder.job.run if ours else None, "kind": ours.kind if ours else None, "log": log_tail(ours, lines) if ours else [],
    }  # fmt: skip
    session.show(value, _why(value))


def _row(one: SiteJob, left: str) -> dict[str, Any]:
    job = one.folder.job
    first: Queued | None = next((line for line in one.queued if line.state == "RUNNING"), one.queued[0] if one.queued else None)
    return {
        "job": first.number if first else str(one.sent.job),
        "kind": one.kind,
        "run": job.run,
        "site": job.site,
        "state": first.state if first else "gone",
        "reason": first.reason if first else "",
        "used": first.used if first else "",
        "left": first.left if first else "",
        "nodes": first.where if first else "",
        "plan": job.plan,
        "approval": left,
        "folder": str(one.folder.path),
        "log": log_tail(one),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    columns = ("job", "kind", "run", "site", "state", "used", "left", "nodes", "reason")
    cells = [columns, *(tuple(str(row[name]) for name in columns) for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(cells[0], widths, strict=True)).rstrip()]
    for row, line in zip(rows, cells[1:], strict=True):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        lines.append(f"    plan {row['plan'][7:19]}; left: {row['approval']}")
        lines += [f"    {text}" for text in row["log"]]
    return "\n".join(lines)


def _why(value: dict[str, Any]) -> str:
    about = f"{value['kind']} of run {value['run']}" if value["run"] else "not sent by coop submit from this folder"
    lines = [f"job {value['job']} ({about}): {value['state']}, {value['reason']}, {value['restarts']} restarts", f"why    {value['why']}"]
    if value["admin_comment"]:
        lines.append(f"site   {value['admin_comment']}")
    lines += [f"site   {text}" for text in value["site"]]
    if value["approval"]:
        lines.append(f"left   {value['approval']}")
    lines += [f"next   {value['next']}", *(f"log    {text}" for text in value["log"])]
    return "\n".join("".join(c if c.isprintable() else " " for c in line) for line in lines)

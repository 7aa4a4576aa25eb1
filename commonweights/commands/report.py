"""`coop report` and `coop runs`: what a run looks like, and which there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights.cli import Session
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput

__all__ = ["report", "runs"]


@click.command()
@click.argument("run")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it [default: report.html in the run's folder].")
@click.pass_obj
def report(session: Session, run: str, out: Path | None) -> None:
    """Draw RUN as one HTML page: loss by language, speed, memory, starts, energy, samples.

    A run that goes on, or failed, has a page too. The page runs nothing and fetches nothing. It is for the cooperative: it
    names its machine and languages with few members, which a release does not.

    \b
    coop report first --out first.html
    """
    from train.report.page import write_report

    with open_workspace(session.folder, read_only=True) as space:
        if run not in space.coop.register.runs:
            raise BadInput(f"no run {run} was started here", allowed=", ".join(space.coop.register.runs) or "none yet", next="coop runs")
        path = write_report(space.run(run), out)
    session.show({"run": run, "report": str(path)}, f"wrote {path}")


@click.command()
@click.pass_obj
def runs(session: Session) -> None:
    """List the runs: status, steps, loss, when, energy.

    \b
    coop runs
    """
    with open_workspace(session.folder, read_only=True) as space:
        found = [_row(space, name) for name in space.coop.register.runs]
    head = {"run": "RUN", "status": "STATUS", "starts": "STARTS", "steps": "STEPS", "loss": "LOSS", "started": "STARTED", "minutes": "MINUTES", "kwh": "KWH"}
    texts = [head, *({name: _text(row[name]) for name in head} for row in found)]
    widths = {name: max(len(text[name]) for text in texts) for name in head}
    lines = ["  ".join(text[name].ljust(widths[name]) for name in head).rstrip() for text in texts]
    session.show({"runs": found}, "\n".join(lines) if found else "no run has started\nnext: coop plan, coop propose run, coop train")


def _row(space: Workspace, name: str) -> dict[str, Any]:
    """Return what log and folder tell of a run; a folder on another machine leaves blanks."""
    known, path = space.coop.register.runs[name], space.run(name) / "run.json"
    record: dict[str, Any] = loads(path.read_bytes(), floats=True, source=str(path)) if path.is_file() else {}
    steps = f"{record['steps']}/{record['total_steps']}" if record else None
    return {
        "run": name,
        "status": known.status or "not ended",
        "starts": len(known.starts),
        "steps": steps,
        "loss": record["loss"]["last"] if record else None,
        "started": known.started[0],
        "minutes": round(record["wall_s"] / 60, 1) if record else None,
        "kwh": record["energy"]["kwh"] if record and record["energy"] else None,
    }


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)

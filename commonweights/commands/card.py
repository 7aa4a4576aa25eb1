"""`coop card`: the model card of a run."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.end_of_run import write_card
from commonweights.node import card_job
from commonweights.progress import progress
from commonweights.run_inputs import find_build
from commonweights.workspace import open_workspace
from governance_hooks.plan import read_plan

__all__ = ["card"]


@click.command()
@click.argument("run", required=False)
@click.option("--job", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Instead of RUN, at a site: the job's folder from coop submit.")
@click.pass_obj
def card(session: Session, run: str | None, job: Path | None) -> None:
    """Render the card of an evaluated RUN from its records; nothing on it is typed by hand.

    At a site it waits until the proof there holds the evaluation: `coop collect` logs that and sends the proof.
    """
    if (run is None) == (job is None):
        raise click.UsageError("give RUN, or --job FOLDER")
    if run is None:
        assert job is not None
        with progress(quiet=session.json) as show:
            _show(session, card_job(job, show=show))
        return
    with open_workspace(session.folder, read_only=True) as space:
        folder = write_card(space.coop.register, run, space.run(run), find_build(space, read_plan((space.run(run) / "plan.json").read_bytes())))
    _show(session, folder)


def _show(session: Session, folder: Path) -> None:
    session.show({"card": str(folder)}, f"{folder / 'README.md'}\n{folder / 'card.json'}")

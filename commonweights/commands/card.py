"""`coop card`: the model card of a run."""

from __future__ import annotations

import click

from commonweights.cli import Session
from commonweights.end_of_run import write_card
from commonweights.run_inputs import find_build
from commonweights.workspace import open_workspace
from governance_hooks.plan import read_plan

__all__ = ["card"]


@click.command()
@click.argument("run")
@click.pass_obj
def card(session: Session, run: str) -> None:
    """Render the card of an evaluated RUN from its records; nothing on it is typed by hand."""
    with open_workspace(session.folder, read_only=True) as space:
        folder = write_card(space.coop.register, run, space.run(run), find_build(space, read_plan((space.run(run) / "plan.json").read_bytes())))
    session.show({"card": str(folder)}, f"{folder / 'README.md'}\n{folder / 'card.json'}")

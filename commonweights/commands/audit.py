"""`coop audit`: replay the log."""

from __future__ import annotations

import click

from commonweights.cli import Session
from commonweights.progress import progress
from commonweights.table import finish
from commonweights.workspace import find_folder

__all__ = ["audit"]


@click.command()
@click.pass_obj
def audit(session: Session) -> None:
    """Replay the whole log: every signature, every rule, the tree, and every checkpoint ever signed."""
    from governance_hooks.audit import audit as run_audit

    with progress(quiet=session.json) as show:
        report = run_audit(find_folder(session.folder), progress=show)
    finish(session, report, good="The log holds.", bad="The log does NOT hold.")

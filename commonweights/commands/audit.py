"""`coop audit`: replay the log."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.progress import progress
from commonweights.table import finish
from commonweights.workspace import find_folder

__all__ = ["audit"]


@click.command()
@click.option(
    "--tiles", type=click.Path(path_type=Path, file_okay=False), help="Audit an exported log (see coop log export) instead of a cooperative's folder."
)
@click.option("--pin", help="With --tiles: digest of the founding statement of the cooperative you trust (sha256:...).")
@click.option("--jobs", type=click.IntRange(0), default=0, show_default=True, help="Processes that check signatures; 0 for one a core if the log is long.")
@click.option(
    "--since", type=click.IntRange(0), default=0, help="Skip the signatures before this entry, if this machine checked them before; rules are replayed."
)
@click.pass_obj
def audit(session: Session, tiles: Path | None, pin: str | None, jobs: int, since: int) -> None:
    """Replay the whole log: every signature, every rule, the tree, every checkpoint ever signed, and that it extends what you saw before."""
    from governance_hooks.audit import Scope, audit_tiles
    from governance_hooks.audit import audit as run_audit
    from governance_hooks.cooperative import Paths
    from governance_hooks.errors import BadInput
    from governance_hooks.memory import Memory

    if pin and not tiles:
        raise BadInput("--pin goes with --tiles: a cooperative's folder has its own pin", next="coop audit --tiles DIR --pin sha256:...")
    scope = Scope(jobs, since)
    with progress(quiet=session.json) as show:
        if tiles:
            report = audit_tiles(tiles, pin, remember=True, scope=scope, progress=show)
        else:
            root = find_folder(session.folder)
            report = run_audit(root, memory=Memory(Paths(root).pin()), scope=scope, progress=show)
    finish(session, report, good="The log holds.", bad="The log does NOT hold." if report.exit_code == 1 else "No step failed, but not all could be checked.")

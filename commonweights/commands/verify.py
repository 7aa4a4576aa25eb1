"""`coop verify`: check a release bundle, offline, without a cooperative's folder."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.table import finish

__all__ = ["verify"]


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--pin", help="Digest of the founding statement of the cooperative you trust (sha256:...).")
@click.option("--now", is_flag=True, help="Also look whether the release is halted at this moment.")
@click.option("--explain", is_flag=True, help="Also print what a green result does not prove.")
@click.pass_obj
def verify(session: Session, bundle: Path, pin: str | None, now: bool, explain: bool) -> None:
    """Check the release in BUNDLE offline: one line per link, from the files to the votes and the consents.

    Exit code 0: every link holds. 1: a link is broken, do not use it. 2: something is missing, could not check.
    """
    from governance_hooks.statement import now as this_moment
    from model_card.verify import NOT_PROVEN
    from model_card.verify import verify as run_verify

    report = run_verify(bundle, pin=pin, now=this_moment() if now else None)
    if explain and not session.json:
        click.echo(NOT_PROVEN + "\n")
    good = "VERIFIED: every link holds." + ("" if pin else " Compare the fingerprint of link 2 with one you got elsewhere, or give it with --pin.")
    finish(session, report, good=good, bad="NOT VERIFIED." if report.exit_code == 1 else "COULD NOT CHECK.")

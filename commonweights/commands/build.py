"""`coop build`: the consented dataset at this log position."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.commands.contribute import seal_batches
from commonweights.progress import Progress, progress
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.consent import Use
from governance_hooks.vocabulary import LICENCES, PROCESSING, PURPOSES, RECIPIENTS

__all__ = ["build", "make_build"]


def make_build(space: Workspace, name: str, use: Use, *, heldout_permille: int = 150, show: Progress | None = None) -> Path:
    """Build and log a dataset; a build that a crash left unlogged is logged, and a finished one is returned as it is."""
    from data_pipeline.build import build as run_build
    from data_pipeline.manifest import read_build
    from data_pipeline.store import ContributionStore
    from governance_hooks.statement import now

    out = space.build(name)
    register = space.coop.register
    if not out.is_dir():
        at = now()
        with ContributionStore(space.contributions) as store:
            seal_batches(space, store)
            run_build(
                store,
                out,
                coop=register.coop,
                log_size=register.size,
                log_root="sha256:" + space.coop.log.root().hex(),
                at=at,
                use=use,
                consent_for=lambda member, language, batch: register.consent_for(member, use, language=language, batch=batch, at=at),
                heldout_permille=heldout_permille,
                progress=show,
            )
    found = read_build(out)
    if found.digest not in register.builds:
        space.coop.operate("coop.build/v1", {"manifest": found.digest, "root": found.manifest["root"], "records": found.manifest["records"]})
    return out


@click.command()
@click.argument("name")
@click.option("--purpose", type=click.Choice(list(PURPOSES)), default="dpv:NonCommercialResearch", show_default=True)
@click.option("--licence", type=click.Choice(LICENCES), default="Apache-2.0", show_default=True, help="Licence of the weights to come.")
@click.option("--recipient", "recipients", multiple=True, type=click.Choice(RECIPIENTS), default=["coop:PublicViaReleasedWeights"], show_default=True)
@click.option("--heldout", "heldout_permille", default=150, show_default=True, help="Share of prompts held out for evaluation, per mille.")
@click.pass_obj
def build(session: Session, name: str, purpose: str, licence: str, recipients: tuple[str, ...], heldout_permille: int) -> None:
    """Build the dataset NAME from every record whose authors all consent to this use, at this log position."""
    from data_pipeline.manifest import read_build

    use = Use.model_validate({"purpose": purpose, "processing": list(PROCESSING), "recipients": list(recipients), "licence": licence})
    with open_workspace(session.folder) as space, progress(quiet=session.json) as show:
        out = make_build(space, name, use, heldout_permille=heldout_permille, show=show)
        found = read_build(out)
    manifest = found.manifest
    lines = [f"build {name}: {manifest['records']} records, root {manifest['root'][:19]}, manifest {found.digest[:19]}"]
    lines += [f"  {code}  {n['train']:>6} train {n['heldout']:>5} held out, {n['members']} members" for code, n in manifest["languages"].items()]
    lines += [f"  left out: {count} {reason}" for reason, count in manifest["excluded"].items()]
    lines.append(f"each reason by record: {out / 'excluded.jsonl'}")
    session.show({"build": str(out), "manifest": found.digest} | {k: manifest[k] for k in ("records", "root", "languages", "excluded")}, "\n".join(lines))

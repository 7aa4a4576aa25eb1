"""`coop contribute`: records into the private store, their commitment into the log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from commonweights.cli import Session
from commonweights.options import key_option
from commonweights.progress import progress
from commonweights.workspace import Workspace, load_key, member_of, open_workspace

if TYPE_CHECKING:
    from data_pipeline.store import ContributionStore

__all__ = ["contribute", "open_store", "seal_batches"]


def open_store(space: Workspace) -> ContributionStore:
    """Open the cooperative's store to write, and remember where it is."""
    from data_pipeline.store import ContributionStore

    space.remember_store()
    return ContributionStore(space.contributions)


def seal_batches(space: Workspace, store: ContributionStore) -> None:
    """Link batches to log statements that were appended just before a crash."""
    for batch in store.unsealed():
        logged = _logged(space, batch.member, batch.root)
        if logged is not None:
            store.seal(batch.batch, logged)


def _logged(space: Workspace, member: str, root: str) -> str | None:
    """Return the statement that committed to a batch, if a crash came between the log and the seal."""
    return next((c.id for c in space.coop.register.contributions.values() if (c.author, c.root) == (member, root)), None)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--licence", default=None, help="SPDX licence of the text, for lines that name none.")
@key_option
@click.pass_obj
def contribute(session: Session, file: Path, licence: str | None, key: Path | None) -> None:
    """Give the prompts and answers in FILE (JSON lines in the schema of the Aya dataset), under your signature.

    \b
    {"inputs": "¿Qué hora es?", "targets": "Son las tres.", "language_code": "spa"}

    All or nothing: one bad line and nothing is stored; every problem is listed with its line. The text stays in the
    cooperative's private store; the log gets one salted commitment for the whole batch. It is used only where you consent.
    """
    from data_pipeline.importers import aya
    from data_pipeline.record import NO_LICENCE

    own = load_key(key)
    with open_workspace(session.folder) as space, open_store(space) as store, progress(quiet=session.json) as show:
        member = member_of(space.coop, own)
        drafts = aya.read(file, store=store, member=member, licence=licence or NO_LICENCE, progress=show)
        batch = store.add_batch(member, drafts)
        logged = _logged(space, batch.member, batch.root) or space.coop.state("coop.contribution/v1", batch.payload(), key=own, author=member).id
        store.seal(batch.batch, logged)
        consenting = any(grant.withdrawn is None for grant in space.coop.register.grants.get(member, []))
    languages = ", ".join(f"{code} {count}" for code, count in sorted(batch.languages.items()))
    text = f"{batch.records} records ({languages}) of {member}: {logged}"
    if not consenting:
        text += "\nThey are used nowhere until you consent: coop consent give"
    session.show({"batch": logged, "records": batch.records, "languages": batch.languages, "member": member}, text)

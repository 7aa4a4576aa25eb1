"""`coop contribute`: records into the private store, their commitment into the log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from commonweights.cli import Session
from commonweights.options import key_option
from commonweights.progress import progress
from commonweights.workspace import Workspace, load_key, member_of, open_workspace
from governance_hooks.errors import BadInput

if TYPE_CHECKING:
    from data_pipeline.store import ContributionStore

__all__ = ["FORMAT_NAMES", "contribute", "open_store", "seal_batches"]

FORMAT_NAMES = ("aya", "jsonl", "oasst", "argilla", "csv", "parquet", "datasets")


def open_store(space: Workspace) -> ContributionStore:
    """Open the cooperative's store to write, and remember where it is."""
    from data_pipeline.store import ContributionStore

    space.remember_store()
    return ContributionStore(space.contributions)


def seal_batches(space: Workspace, store: ContributionStore) -> None:
    """Link batches and reviews to log statements that were appended just before a crash."""
    for batch in store.unsealed():
        logged = _logged(space, batch.member, batch.root)
        if logged is not None:
            store.seal(batch.batch, logged)
    for review in store.reviews.unsealed():
        logged = next((found.id for found in space.coop.register.reviews.values() if (found.author, found.root) == (review.reviewer, review.root)), None)
        if logged is not None:
            store.reviews.seal(review.review, logged)


def _logged(space: Workspace, member: str, root: str) -> str | None:
    """Return the statement that committed to a batch, if a crash came between the log and the seal."""
    return next((c.id for c in space.coop.register.contributions.values() if (c.author, c.root) == (member, root)), None)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--format", "format_name", type=click.Choice(FORMAT_NAMES), help="The format of FILE [default: what its contents look like].")
@click.option("--columns", help="Which column is which field: inputs=prompt,targets=answer.")
@click.option("--language", help="BCP 47 tag of texts that name no language: swh, hi-Latn, pt-BR.")
@click.option("--licence", default=None, help="SPDX licence of the text, for texts that name none.")
@key_option
@click.pass_obj
def contribute(session: Session, file: Path, format_name: str | None, columns: str | None, language: str | None, licence: str | None, key: Path | None) -> None:
    """Give the prompts and answers in FILE, under your signature.

    \b
    JSON lines   {"inputs": "¿Qué hora es?", "targets": "Son las tres.", "language_code": "es-MX"}
                 optional: record_id, parents, history [[prompt, answer], ...], licence, created_at;
                 or "messages" [{"role": "user", "content": ...}, ...] in place of the texts
    oasst        trees of Open Assistant: every answer, with the conversation before it
    argilla      texts Argilla 2 exported, with their responses
    csv          with a header, UTF-8; commas, semicolons or tabs
    parquet      text columns
    datasets     the folder that Hugging Face's save_to_disk wrote

    \b
    coop contribute mine.jsonl
    coop contribute survey.csv --columns inputs=question,targets=reply --language swh --licence CC-BY-4.0

    JSON lines, csv and trees may be packed (gzip, zstd). All or nothing: one bad line and nothing is stored; up to twenty problems
    are listed with their lines. The text stays in the cooperative's private store; the log gets one salted commitment for the whole
    batch. It is used only where you consent.
    """
    from data_pipeline.importers.reading import read
    from data_pipeline.importers.rows import How
    from data_pipeline.record import NO_LICENCE

    own = load_key(key)
    how = How(columns=_columns(columns), language=language, licence=licence or NO_LICENCE)
    with open_workspace(session.folder) as space, open_store(space) as store, progress(quiet=session.json) as show:
        member = member_of(space.coop, own)
        reading = read(file, format=format_name, how=how, store=store, member=member, progress=show)
        batch = store.add_batch(member, reading.drafts)
        logged = _logged(space, batch.member, batch.root) or space.coop.state("coop.contribution/v1", batch.payload(), key=own, author=member).id
        store.seal(batch.batch, logged)
        consenting = any(grant.withdrawn is None for grant in space.coop.register.grants.get(member, []))
    languages = ", ".join(f"{code} {count}" for code, count in sorted(batch.languages.items()))
    left_out = {what: count for what, count in sorted(reading.left_out.items()) if count}
    text = "\n".join(
        [
            f"{batch.records} texts ({languages}) of {member}: {logged}",
            *(f"left out: {count} {what}" for what, count in left_out.items()),
            *([] if consenting else ["They are used nowhere until you consent: coop consent give"]),
        ]
    )
    value = {"batch": logged, "records": batch.records, "languages": batch.languages, "member": member, "format": reading.format, "left_out": left_out}
    session.show(value, text)


def _columns(text: str | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in (text or "").split(",") if text else []:
        name, equals, column = pair.partition("=")
        if not equals or not name or not column or name in found:
            raise BadInput("--columns: not FIELD=COLUMN, each field once", value=pair, allowed="for example inputs=prompt,targets=answer")
        found[name] = column
    return found

"""`coop export`: a member's own contributions, or the rows of a dataset, in a format other tools read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commonweights.cli import Session
from commonweights.commands.contribute import FORMAT_NAMES
from commonweights.options import key_option
from commonweights.progress import Progress, progress
from commonweights.workspace import author_of, load_key, open_workspace
from governance_hooks.errors import BadInput

if TYPE_CHECKING:
    from data_pipeline.manifest import Build
    from data_pipeline.record import Draft
    from data_pipeline.store import ContributionStore

__all__ = ["export"]

_BY_SUFFIX = {".jsonl": "jsonl", ".json": "argilla", ".csv": "csv", ".parquet": "parquet", "": "datasets"}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMAT_NAMES),
    help="[default: by the ending: .jsonl, .csv, .parquet, .json for Argilla, none for a datasets folder]",
)
@click.option("--build", "build_name", help="Export the rows of this dataset instead, as training reads them; for whoever holds its texts.")
@key_option
@click.pass_obj
def export(session: Session, file: Path, format_name: str | None, build_name: str | None, key: Path | None) -> None:
    """Write your own contributions to FILE, to take them elsewhere; `coop contribute FILE` reads every format back.

    \b
    coop export mine.jsonl                    everything you gave that is not erased
    coop export mine.csv                      the same for a spreadsheet; no cell of it is a formula
    coop export talk.jsonl --format oasst     as conversation trees
    coop export rows.parquet --build voices   the rows of a dataset

    The file is readable by you alone. What a format has no place for is said.
    """
    from data_pipeline.exporters.writing import write
    from data_pipeline.manifest import read_build
    from data_pipeline.store import ContributionStore

    chosen = format_name or _BY_SUFFIX.get(file.suffix)
    if chosen is None:
        raise BadInput("the ending says no format", value=file.suffix, allowed=", ".join(filter(None, _BY_SUFFIX)), next="give --format")
    own = load_key(key) if build_name is None else None
    count = 0

    def counted(drafts: Iterator[Draft], show: Progress) -> Iterator[Draft]:
        nonlocal count
        for draft in drafts:
            count += 1
            if count % 1000 == 0:
                show("written", count, 0)
            yield draft

    with open_workspace(session.folder, read_only=True) as space, progress(quiet=session.json) as show:
        if build_name is not None:
            lost = write(file, counted(_rows(read_build(space.build(build_name))), show), format=chosen)
        else:
            assert own is not None
            with ContributionStore(space.contributions) as store:
                lost = write(file, counted(_given(store, author_of(space.coop, own)), show), format=chosen)
    text = [f"{count} texts in {file} ({chosen})", *(f"not in it, for the format has no place: {what}, {number} times" for what, number in lost.items())]
    session.show({"file": str(file), "format": chosen, "records": count, "lost": lost}, "\n".join(text))


def _given(store: ContributionStore, member: str) -> Iterator[Draft]:
    from data_pipeline.record import as_draft

    yield from (as_draft(record) for record in store.records(member=member) if record.erased_at is None)


def _rows(build: Build) -> Iterator[Draft]:
    from data_pipeline.reader import rows
    from data_pipeline.record import Draft

    for row in rows(build):
        yield Draft(row.inputs, row.targets, row.language, record_id=row.record, history=row.history)

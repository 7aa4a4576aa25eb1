"""What the next build loses if a member withdraws: found by running the build's rules with and without them, or read off the last ledger.

withdrawal(...)   exact: what concerns a row alone is done once, the search for copies twice
estimate(...)     from a build that is there: for stores so large that nobody waits for the rules
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from data_pipeline.admit import ConsentLookup
from data_pipeline.join import join
from data_pipeline.manifest import Build, read_ledger
from data_pipeline.pool import Pool
from data_pipeline.recipe import DEFAULT, Recipe
from data_pipeline.shard import COLUMNS, Job, Shard, prepare
from data_pipeline.source import StoreRange
from data_pipeline.stages.stage import Evidence, Suite
from data_pipeline.store import ContributionStore
from data_pipeline.verify import read_exclusions
from data_pipeline.views.reasons import row_named

__all__ = ["SMALL", "Loss", "Withdrawal", "estimate", "withdrawal"]

SMALL: Final = 200_000
"""Stored records up to which the rules are run for a preview: a minute or so."""

Progress = Callable[[str, int, int], None]


class Loss(NamedTuple):
    """What one language loses and gets back."""

    own: int
    built_on: int
    freed: int
    displaced: int


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What a member's withdrawal, of every consent or of one, does to the next build."""

    member: str
    method: Literal["rules", "ledger"]
    """`rules`: exact, the build's rules were run with and without the member; `ledger`: counted from a build made earlier."""
    rows_now: int
    """Rows of the next build if nobody withdraws."""
    own: int
    """Rows lost that the member contributed."""
    built_on: int
    """Rows lost that others contributed on the member's text."""
    losers: int
    """Other members who lose such rows."""
    freed: int
    """Copies by others that come in, since the row before which they stepped back is gone; by `ledger` the most it can be."""
    displaced: int
    """Rows of others that step back before a freed copy; by `ledger` not known, 0."""
    languages: dict[str, Loss]
    """ISO 639-3 -> of the four numbers, those of rows in it."""


class _Row(NamedTuple):
    record: str
    language: str
    member: str
    """Who contributed it."""
    authors: Collection[str]


def withdrawal(
    store: ContributionStore,
    member: str,
    consent_for: ConsentLookup,
    *,
    recipe: Recipe = DEFAULT,
    suites: Sequence[Suite] = (),
    signed: frozenset[str] | None = None,
    max_characters: int = 4000,
    consent_then: ConsentLookup | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> Withdrawal:
    """Run the rules of a build as things stand, and again without the member, and return the difference; changes nothing.

    Args:
        store: the contributions.
        member: who would withdraw.
        consent_for: as in `build`.
        recipe: the stages of the next build.
        suites: evaluation suites of the next build.
        signed: as in `build`, the statements the log holds.
        max_characters: as in `build`.
        consent_then: which consents stand after the withdrawal; None if it is one of all the member's.
        scratch: a private folder; texts lie in a folder within it, which only the owner may enter, until this returns. None is the system's.
        progress: called as (label, done, total).

    Raises:
        CoopError: the store was changed behind the members' backs.
    """
    report = progress or (lambda _label, _done, _total: None)
    asked = {(author, language, statement) for authors, language, statement in store.claims() for author in authors}
    consents = {claim: found for claim in sorted(asked) if (found := consent_for(*claim)) is not None}
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=scratch) as folder, Pool(1) as pool:
        job = Job(Path(folder), consents, recipe, max_characters, coop="", heldout_permille=0, evidence=Evidence(suites=tuple(suites)))
        source = StoreRange(store.location, "", None, signed, "review" in recipe.stages)
        report("check each row", 0, 1)
        everybody, rest = prepare(job, 0, source).path, Path(folder) / "rest.arrow"
        if consent_then is None:
            _without(everybody, rest, member)
        else:
            left = {claim: found for claim in consents if (found := consent_then(*claim)) is not None}
            rest = prepare(replace(job, consents=left), 1, source).path
        report("find copies", 0, 1)
        now, then = (_kept(path, recipe, pool) for path in (everybody, rest))
        stays = set(Shard(rest).column("record").to_pylist())
        report("find copies", 1, 1)
    lost = [row for record, row in now.items() if record not in stays]
    freed = [row for record, row in then.items() if record not in now]
    displaced = [row for record, row in now.items() if record in stays and record not in then]
    return _summary(member, "rules", len(now), lost, freed, displaced)


def estimate(build: Build, member: str, own: Mapping[str, str], consent: str | None = None) -> Withdrawal:
    """Return what a build that is there would lose, with the most copies that could come in its place.

    Args:
        build: the newest.
        member: who would withdraw.
        own: the member's own records and their languages, from `place.own_records`.
        consent: the one that would be withdrawn; None for all. Rows another one would carry are counted as lost.

    Raises:
        CoopError: a file of the build is not what its manifest names.
    """
    lines = read_ledger(build)
    lost = {line.record: line for line in lines if member in line.authors and (consent is None or consent in line.consents)}
    behind = {record: of for record, (reason, detail) in read_exclusions(build).items() if reason != "small_edit" and (of := row_named(reason, detail)) in lost}
    rows = [_Row(line.record, line.language, member if line.record in own else "", line.authors) for line in lost.values()]
    # The ledger does not say who of an edit's authors contributed it: all of them but the member count as losing it.
    losers = {author for row in rows if not row.member for author in row.authors} - {member}
    freed = [_Row(record, lost[of].language, "", ()) for record, of in behind.items() if record not in own and of is not None]
    return _summary(member, "ledger", len(lines), rows, freed, [], losers=losers)


def _without(source: Path, target: Path, member: str) -> None:
    """Copy the rows the member is no author of: nothing `prepare` decides about them depends on the member's."""
    with (
        pa.memory_map(str(source)) as data,
        pa.ipc.open_file(data) as file,
        pa.OSFile(str(target), "wb") as out,
        pa.ipc.new_file(out, COLUMNS) as writer,
    ):
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            writer.write_batch(batch.filter(pa.array([member not in authors for authors in batch.column("authors").to_pylist()], type=pa.bool_())))


def _kept(path: Path, recipe: Recipe, pool: Pool) -> dict[str, _Row]:
    shard = Shard(path)
    (verdict,) = join([shard], recipe, pool, [path])
    places = pa.array(np.flatnonzero(verdict.kept))
    columns = (shard.column(name).take(places).to_pylist() for name in ("record", "language", "member", "authors"))
    return {row[0]: _Row(*row) for row in zip(*columns, strict=True)}


def _summary(
    member: str,
    method: Literal["rules", "ledger"],
    total: int,
    lost: Collection[_Row],
    freed: Iterable[_Row],
    displaced: Iterable[_Row],
    *,
    losers: set[str] | None = None,
) -> Withdrawal:
    own = Counter(row.language for row in lost if row.member == member)
    built_on = Counter(row.language for row in lost if row.member != member)
    came, went = Counter(row.language for row in freed), Counter(row.language for row in displaced)
    found = {row.member for row in lost} - {member} if losers is None else losers
    languages = {code: Loss(own[code], built_on[code], came[code], went[code]) for code in sorted({*own, *built_on, *came, *went})}
    return Withdrawal(member, method, total, own.total(), built_on.total(), len(found), came.total(), went.total(), languages)

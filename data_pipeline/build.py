"""Make a build: consent -> clean -> checks of each row -> copies -> split -> one folder, whole or absent.

    store ── prepare (each part) ──► join (all parts) ──► finish (each part) ──► ledger, rows, reasons, manifest

Consent comes first: if a duplicate's kept copy is withdrawn, the copy of somebody who stays takes its place. The same store,
log position, recipe and evidence give the same bytes, however many parts, processes and machines (Parquet bytes also depend on the version of
pyarrow).
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from data_pipeline import deduplicate as duplicates
from data_pipeline import normalise as normalisation
from data_pipeline import split as splitting
from data_pipeline.admit import CONSENT_RULE, LENGTH_RULE, ConsentLookup
from data_pipeline.batch import Batch
from data_pipeline.finish import Part
from data_pipeline.manifest import BATCHES, EXCLUDED, FORMAT, LEDGER, MANIFEST, RECORDS, REVIEWS, Build, read_build
from data_pipeline.parquet import write_rows
from data_pipeline.recipe import DEFAULT, Recipe
from data_pipeline.shard import Job
from data_pipeline.signed import commitments_of, consents_of, statements_of
from data_pipeline.source import StoreRange
from data_pipeline.stages.stage import Evidence, Suite
from data_pipeline.stages.table import STAGES
from data_pipeline.steps import InProcesses, Progress, Steps
from data_pipeline.store import ContributionStore
from governance_hooks.atomic import atomic_directory, write_bytes
from governance_hooks.batches import batches_bytes
from governance_hooks.canonical import dumps
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.inventory import file_entry
from governance_hooks.ownership import OwnershipTree
from governance_hooks.reviews import ReviewLine, line_bytes
from governance_hooks.vouching import cores

__all__ = ["MAX_CHARACTERS", "build", "rules_of"]

MAX_CHARACTERS: Final = 4000
"""Earlier turns, prompt and answer together; longer rows would not fit the training windows this project uses."""
ROWS_PER_SHARD: Final = 16_384
MANY: Final = 16_384
"""Records from which on further processes are surely faster."""


def rules_of(recipe: Recipe) -> list[str]:
    """Return the rules of a build in the order they run."""
    alone, joint = ([STAGES[name].rule for name in recipe.stages if STAGES[name].joint == met] for met in (False, True))
    return [CONSENT_RULE, normalisation.RULE, LENGTH_RULE, *alone, duplicates.RULE, *joint, splitting.RULE]


def build(
    store: ContributionStore,
    out: Path,
    *,
    coop: str,
    log_size: int,
    log_root: str,
    at: str,
    use: Use,
    consent_for: ConsentLookup,
    signed: Mapping[str, str] | None = None,
    recipe: Recipe = DEFAULT,
    suites: Sequence[Suite] = (),
    heldout_permille: int = 150,
    max_characters: int = MAX_CHARACTERS,
    jobs: int = 0,
    shards: int = 0,
    steps: Steps | None = None,
    progress: Progress | None = None,
) -> Build:
    """Write the build folder `out` and return it.

    Args:
        store: the contributions; only sealed batches are read.
        out: the new folder; it must not exist.
        coop: digest of the founding statement.
        log_size: entries of the log at which consents were looked up.
        log_root: Merkle root of the log at that size.
        at: time for which consents were judged, RFC 3339 UTC.
        use: what the rows will be used for.
        consent_for: (member, language, batch statement) -> digest of the consent in force for `use`, or None.
        signed: statements of contributions and reviews in the log at that size -> the root each signs; what others brought is not looked at, so
            that later contributions change nothing. None takes the store's word, and lists what is not sealed.
        recipe: the quality stages and their parameters.
        suites: evaluation suites whose items no row may hold.
        heldout_permille: of a thousand prompts, how many are held out.
        max_characters: longest prompt and answer together.
        jobs: processes, 0 for one a core if there is much to do; with any but 1 the calling program must be importable.
        shards: parts; 0 chooses. It changes nothing but memory and the rhythm of `progress`.
        steps: who does the steps of the parts, instead of `jobs` processes of this machine (`data_pipeline.trove`). It changes nothing in the build.
        progress: called as (label, done, total).

    Raises:
        BadInput: a parameter is out of range.
        CoopError: the store was changed behind the members' backs, no row is left (says how many lacked consent), `out` exists, or the disk refuses.
    """
    if not 0 <= heldout_permille <= 1000:
        raise BadInput("heldout_permille", value=heldout_permille, allowed="0 to 1000")
    if max_characters < 2:
        raise BadInput("max_characters", value=max_characters, allowed="2 or more")
    report = progress or (lambda _label, _done, _total: None)
    known = store.batches()
    total = sum(batch.records for batch in known)
    counting = None if signed is None else statements_of(known, signed)
    sources = [StoreRange(store.location, low, high, counting, "review" in recipe.stages) for low, high in store.ranges(shards or total // ROWS_PER_SHARD + 1)]
    with steps or InProcesses(jobs or (cores() if total >= MANY else 1)) as running, atomic_directory(out) as folder:
        work = folder / "work"
        work.mkdir(mode=0o700)
        job = Job(
            folder=work,
            consents=consents_of(store, consent_for),
            recipe=recipe,
            max_characters=max_characters,
            coop=coop,
            heldout_permille=heldout_permille,
            evidence=Evidence(suites=tuple(suites)),
        )
        gone = store.erased()
        prepared = running.prepare(job, sources, total, report)
        commitments = commitments_of(known, prepared, counting)
        parts = running.finish(job, prepared, total, report)
        if store.erased() != gone:
            raise CoopError("texts were erased while the dataset was built: it is thrown away", next="build again")
        reasons = dict(sorted(sum((part.reasons for part in parts), Counter()).items()))
        if not any(part.rows for part in parts):
            raise _nothing_left(total, reasons)
        report("write", 0, 1)
        manifest = {
            "format": FORMAT,
            "coop": coop,
            "log": {"size": log_size, "root": log_root},
            "at": at,
            "use": use.model_dump(),
            "rules": rules_of(recipe),
            "stages": recipe.as_dict(),
            "parameters": {"heldout_permille": heldout_permille, "max_characters": max_characters, "unicode_major": normalisation.UNICODE_MAJOR},
            "suites": {suite.name: suite.digest for suite in suites} if "decontamination" in recipe.stages else {},
            **_counts(parts),
            "excluded": reasons,
        }
        reviews = _reviews(store, counting, parts) if "review" in recipe.stages else []
        _write(folder, out, manifest, parts, {BATCHES: _used(known, commitments, parts), REVIEWS: b"".join(map(line_bytes, reviews))})
        shutil.rmtree(work)
        read_build(folder)  # a manifest we could not read back must never get its name
        report("write", 1, 1)
    return read_build(out)


def _counts(parts: Sequence[Part]) -> dict[str, Any]:
    owned: dict[str, bytearray] = defaultdict(bytearray)
    members: dict[str, set[str]] = defaultdict(set)
    for part in parts:
        for author, leaves in part.owned.items():
            owned[author] += leaves
        part.owned.clear()
        for language, authors in part.members.items():
            members[language] |= authors
    counts = sum((part.counts for part in parts), Counter())
    rows = sum(part.rows for part in parts)
    return {
        "records": rows,
        "root": OwnershipTree(owned, rows).root,
        "splits": {side: sum(count for (_, of), count in counts.items() if of == side) for side in ("train", "heldout")},
        "languages": {code: {"train": counts[code, "train"], "heldout": counts[code, "heldout"], "members": len(members[code])} for code in sorted(members)},
        "licences": dict(sorted(sum((part.licences for part in parts), Counter()).items())),
        "marks": dict(sorted(sum((part.marks for part in parts), Counter()).items())),
    }


def _used(known: Sequence[Batch], commitments: Mapping[str, list[str]], parts: Sequence[Part]) -> bytes:
    """Return the commitments of every batch a line names, those of records left out too: only all of them make the root its member signed."""
    named = set().union(*(part.batches for part in parts))
    return batches_bytes({batch.statement: commitments[batch.batch] for batch in known if batch.statement is not None and batch.statement in named})


def _nothing_left(total: int, reasons: dict[str, int]) -> CoopError:
    lacking = reasons.get("no_consent", 0)
    others = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if reason != "no_consent")
    return CoopError(
        f"the dataset would have no rows: of {total} stored texts {lacking} lack a consent in force" + (f"; {others}" if others else ""),
        next="coop consent" if lacking else "coop contribute",
    )


def _reviews(store: ContributionStore, signed: frozenset[str] | None, parts: Sequence[Part]) -> list[ReviewLine]:
    """Return the ratings of the rows of the build, beside the bare commitments of those their reviewers signed together with them."""
    rated = {rating.record for rating in store.reviews.ratings()}
    here: set[str] = set()
    for part in parts if rated else ():
        with pa.memory_map(str(part.records)) as source, pa.ipc.open_file(source) as file:
            for number in range(file.num_record_batches):
                here |= rated.intersection(file.get_batch(number).column("record").to_pylist())
    return [line for line in store.reviews.lines(here.__contains__) if signed is None or line.statement in signed] if here else []


def _write(folder: Path, out: Path, manifest: dict[str, Any], parts: Sequence[Part], others: Mapping[str, bytes]) -> None:
    try:
        for name, paths in ((LEDGER, [part.ledger for part in parts]), (EXCLUDED, [part.excluded for part in parts])):
            with (folder / name).open("wb") as target:
                for path in paths:
                    with path.open("rb") as source:
                        shutil.copyfileobj(source, target)
        write_rows(folder / RECORDS, [part.records for part in parts])
        (folder / RECORDS).chmod(0o600)  # the texts
        for name, data in others.items():
            write_bytes(folder / name, data)
        files = [file_entry(folder, folder / name) for name in (BATCHES, EXCLUDED, LEDGER, RECORDS, REVIEWS)]
        write_bytes(folder / MANIFEST, dumps({**manifest, "files": files}))
    except CoopError as error:
        raise CoopError(f"{out}: {error.what}", next=error.next) from error
    except OSError as error:
        raise CoopError(f"cannot write {out}: {error}", next="free space, then build again; nothing was half-written") from error

"""Make a build: consent -> normalise -> length -> duplicates -> split -> one folder, whole or absent.

Consent comes first: if a duplicate's kept copy is withdrawn, the copy of somebody who stays takes its place. The same store,
log position and parameters give the same bytes (Parquet bytes also depend on the version of pyarrow).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from data_pipeline import deduplicate as duplicates
from data_pipeline import normalise as normalisation
from data_pipeline import split as splitting
from data_pipeline.admit import CONSENT_RULE, LENGTH_RULE, ConsentLookup, clean, consented, require_intact
from data_pipeline.candidate import Candidate, Exclusion
from data_pipeline.ledger import ledger_row
from data_pipeline.manifest import BATCHES, EXCLUDED, FORMAT, LEDGER, MANIFEST, RECORDS, Build, read_build
from data_pipeline.parquet import write_rows
from data_pipeline.record import Record
from data_pipeline.store import ContributionStore
from governance_hooks.atomic import atomic_directory, write_bytes
from governance_hooks.batches import batches_bytes
from governance_hooks.canonical import dumps
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.inventory import file_entry
from governance_hooks.ledger import LedgerRow, count_languages, ledger_bytes, ledger_root

__all__ = ["MAX_CHARACTERS", "RULES", "build"]

RULES: Final = (CONSENT_RULE, normalisation.RULE, LENGTH_RULE, duplicates.RULE, splitting.RULE)

MAX_CHARACTERS: Final = 4000
"""Prompt and answer together; longer rows would not fit the training windows this project uses."""

Progress = Callable[[str, int, int], None]


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
    heldout_permille: int = 150,
    max_characters: int = MAX_CHARACTERS,
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
        heldout_permille: of a thousand prompts, how many are held out.
        max_characters: longest prompt and answer together.
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
    batches, stored = store.snapshot()
    require_intact(stored, batches)
    total = len(stored)
    admitted, excluded = consented(stored, consent_for)
    report("consent", total, total)
    candidates, unfit = clean(admitted, max_characters=max_characters)
    kept, copies = duplicates.deduplicate(candidates)
    excluded = sorted([*excluded, *unfit, *copies], key=lambda exclusion: exclusion.record)
    report("clean and deduplicate", total, total)
    reasons = dict(sorted(Counter(exclusion.reason for exclusion in excluded).items()))
    if not kept:
        raise _nothing_left(total, reasons)

    kept.sort(key=lambda candidate: candidate.record)
    lines = [ledger_row(c, splitting.split_of(c.inputs, coop=coop, heldout_permille=heldout_permille)) for c in kept]
    ledger = ledger_bytes(lines)
    splits = Counter(line.split for line in lines)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "coop": coop,
        "log": {"size": log_size, "root": log_root},
        "at": at,
        "use": use.model_dump(),
        "rules": list(RULES),
        "parameters": {"heldout_permille": heldout_permille, "max_characters": max_characters, "unicode_major": normalisation.UNICODE_MAJOR},
        "records": len(lines),
        "root": ledger_root(lines),
        "splits": {"train": splits["train"], "heldout": splits["heldout"]},
        "languages": count_languages(lines),
        "licences": dict(sorted(Counter(candidate.source.licence for candidate in kept).items())),
        "excluded": reasons,
    }
    report("write", 0, len(lines))
    _write(out, manifest, {LEDGER: ledger, BATCHES: _batches(stored, lines), EXCLUDED: _reasons(excluded)}, kept, lines)
    report("write", len(lines), len(lines))
    return read_build(out)


def _nothing_left(total: int, reasons: dict[str, int]) -> CoopError:
    lacking = reasons.get("no_consent", 0)
    others = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if reason != "no_consent")
    return CoopError(
        f"the build would have no rows: of {total} stored records {lacking} lack a consent in force" + (f"; {others}" if others else ""),
        next="coop consent" if lacking else "coop contribute",
    )


def _reasons(excluded: Sequence[Exclusion]) -> bytes:
    return b"".join(dumps({"record": e.record, "reason": e.reason, "detail": e.detail}) + b"\n" for e in excluded)


def _batches(stored: Sequence[Record], lines: Sequence[LedgerRow]) -> bytes:
    """Return the commitments of every batch a line names, those of records left out too: only all of them make the root its member signed."""
    used = {line.batch for line in lines}
    found: dict[str, list[tuple[int, str]]] = {batch: [] for batch in used}
    for record in stored:
        if record.statement in used:
            found[record.statement].append((record.position, record.commitment))
    return batches_bytes({batch: [value for _, value in sorted(commitments)] for batch, commitments in found.items()})


def _write(out: Path, manifest: dict[str, Any], texts: dict[str, bytes], kept: Sequence[Candidate], lines: Sequence[LedgerRow]) -> None:
    with atomic_directory(out) as folder:
        for name, data in texts.items():
            _write_file(folder / name, data, out)
        try:
            write_rows(folder / RECORDS, kept, lines)
        except CoopError as error:
            raise CoopError(f"{out / RECORDS}: {error.what}", next=error.next) from error
        (folder / RECORDS).chmod(0o600)  # the texts
        files = [file_entry(folder, folder / name) for name in (BATCHES, EXCLUDED, LEDGER, RECORDS)]
        _write_file(folder / MANIFEST, dumps({**manifest, "files": files}), out)
        read_build(folder)  # a manifest we could not read back must never get its name


def _write_file(path: Path, data: bytes, out: Path) -> None:
    try:
        write_bytes(path, data)
    except CoopError as error:
        raise CoopError(f"{out / path.name}: {error.what}", next=error.next) from error

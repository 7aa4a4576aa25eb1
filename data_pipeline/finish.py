"""The last step of one part of a build: sides, ledger lines, and the rows as the build holds them; any process may do it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_pipeline.candidate import Exclusion
from data_pipeline.join import Verdict
from data_pipeline.ledger import ledger_row
from data_pipeline.parquet import SCHEMA, row_batch
from data_pipeline.shard import Job, Shard
from data_pipeline.source import PAGE
from data_pipeline.split import split_of
from governance_hooks.canonical import dumps
from governance_hooks.merkle import leaf_hash

__all__ = ["Part", "finish"]


@dataclass(slots=True)
class Part:
    """The files of one part, and what the manifest counts of it."""

    ledger: Path
    records: Path
    excluded: Path
    rows: int = 0
    owned: dict[str, bytes] = field(default_factory=dict, repr=False)
    """Author -> the leaf hashes of their ledger lines, one after the other."""
    batches: set[str] = field(default_factory=set, repr=False)
    """Contribution statements the lines name."""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(language, side) -> rows."""
    members: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set), repr=False)
    """Language -> authors."""
    licences: Counter[str] = field(default_factory=Counter)
    marks: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def finish(job: Job, number: int, path: Path, verdict: Verdict, excluded: Sequence[Exclusion]) -> Part:
    """Write the ledger lines, rows and exclusions of one part.

    Args:
        job: what every part knows.
        number: of the part.
        path: the file `prepare` left.
        verdict: what the other rows decided.
        excluded: what `prepare` left out.
    """
    ledger_file, records_file, excluded_file = (job.folder / f"{kind}-{number:05}" for kind in ("ledger", "records", "excluded"))
    part, shard = Part(ledger_file, records_file, excluded_file), Shard(path)
    owned: dict[str, bytearray] = defaultdict(bytearray)
    places = np.flatnonzero(verdict.kept)
    with part.ledger.open("wb") as ledger, pa.OSFile(str(part.records), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        for start in range(0, len(places), PAGE):
            some = places[start : start + PAGE]
            rows = shard.candidates(some)
            rows = [replace(row, credited=verdict.credited.get(int(place), ())) for place, row in zip(some, rows, strict=True)]
            lines = [ledger_row(row, split_of(row.inputs, coop=job.coop, heldout_permille=job.heldout_permille)) for row in rows]
            for row, line in zip(rows, lines, strict=True):
                data = line.line()
                ledger.write(data + b"\n")
                leaf = leaf_hash(data)
                for author in line.authors:
                    owned[author] += leaf
                part.members[line.language].update(line.authors)
                part.batches.add(line.batch)
                part.marks.update(row.marks)
            part.rows += len(lines)
            part.counts.update((line.language, line.split) for line in lines)
            part.licences.update(row.source.licence for row in rows)
            writer.write_batch(row_batch(rows, lines))
    out = sorted([*excluded, *verdict.excluded], key=lambda exclusion: exclusion.record)
    part.excluded.write_bytes(b"".join(dumps({"record": e.record, "reason": e.reason, "detail": e.detail}) + b"\n" for e in out))
    part.reasons.update(exclusion.reason for exclusion in out)
    part.owned = {author: bytes(leaves) for author, leaves in owned.items()}
    return part

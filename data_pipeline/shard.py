"""One part of a build: records of a range of ids, from their source to a file of rows that are ready to be compared with all others.

    prepare(job, number, source) -> Prepared     any process of any machine; depends on the range alone

What concerns one row alone is done here: is it as its member signed it, does everybody consent, is it clean, long enough, free of
personal data. The rows are left in an Arrow file in the job's folder, with the keys by which copies are found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from data_pipeline.admit import clean, consented, require_unchanged
from data_pipeline.candidate import Candidate, Exclusion
from data_pipeline.deduplicate import KEY_BYTES, copy_key
from data_pipeline.recipe import Recipe
from data_pipeline.record import Record
from data_pipeline.source import Source
from data_pipeline.stages.near_duplicates import BANDS, Row, signatures
from data_pipeline.stages.stage import NO_EVIDENCE, Evidence
from data_pipeline.stages.table import STAGES

__all__ = ["COLUMNS", "Job", "Prepared", "Shard", "prepare", "to_arrow"]

_TEXTS = pa.list_(pa.string())
COLUMNS: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("record", "language", "annotation_type", "licence", "batch", "statement", "member", "salt", "commitment")),
        *((name, pa.string()) for name in ("created_at", "tag", "inputs", "targets")),
        ("position", pa.int32()),
        *((name, _TEXTS) for name in ("parents", "authors", "consents", "history", "marks")),
        ("copy_key", pa.binary(KEY_BYTES)),
        ("bands", pa.binary(8 * BANDS)),
    ]
)


@dataclass(frozen=True, slots=True)
class Job:
    """What every part of a build knows."""

    folder: Path
    """Where the parts leave their files."""
    consents: Mapping[tuple[str, str, str], str]
    """(author, language, batch statement) -> the consent in force; whoever is missing does not consent."""
    recipe: Recipe
    max_characters: int
    coop: str
    heldout_permille: int
    evidence: Evidence = field(default=NO_EVIDENCE, repr=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` found in one range."""

    number: int
    path: Path
    rows: int
    """Rows in the file."""
    records: int
    """Stored records in the range."""
    commitments: dict[str, tuple[list[int], bytes]] = field(repr=False)
    """Batch -> positions, and the commitments' 32 bytes one after the other."""
    excluded: list[Exclusion] = field(repr=False)


def prepare(job: Job, number: int, source: Source) -> Prepared:
    """Take the records of a part as far as they can be judged without the others.

    Raises:
        CoopError: a record is not what its member signed.
    """
    path, rows, records = job.folder / f"shard-{number:05}.arrow", 0, 0
    commitments: dict[str, tuple[list[int], bytearray]] = {}
    excluded: list[Exclusion] = []
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, COLUMNS) as writer:
        for page in source.pages():
            records += page.stored
            require_unchanged(page.records, page.authors)
            for record in page.records:
                positions, digests = commitments.setdefault(record.batch, ([], bytearray()))
                positions.append(record.position)
                digests += bytes.fromhex(record.commitment[7:])
            kept, out = _judged(job, page.records)
            excluded += out
            if "review" in job.recipe.stages:
                wanted = {parent for row in kept for parent in row.source.parents}
                parents, _ = _judged(job, [record for record in page.others if record.record in wanted])
                kept, out = STAGES["review"].run(kept, job.recipe.stages["review"], Evidence(tuple(page.ratings), parents=tuple(parents)))
                excluded += out
            if kept:
                writer.write_batch(to_arrow(kept, near="near_duplicates" in job.recipe.stages))
            rows += len(kept)
    return Prepared(number, path, rows, records, {batch: (positions, bytes(digests)) for batch, (positions, digests) in commitments.items()}, excluded)


def _judged(job: Job, page: Sequence[Record]) -> tuple[list[Candidate], list[Exclusion]]:
    """Consent, cleaning, and every stage that looks at nothing but the row."""
    kept, excluded = consented(page, lambda *claim: job.consents.get(claim))
    kept, out = clean(kept, max_characters=job.max_characters)
    excluded += out
    for name, parameters in job.recipe.stages.items():
        if not STAGES[name].joint and name != "review":
            kept, out = STAGES[name].run(kept, parameters, job.evidence)
            excluded += out
    return kept, excluded


def to_arrow(rows: Sequence[Candidate], *, near: bool) -> pa.RecordBatch:
    """Return rows as a part keeps them, with the keys of exact copies and, if asked for, of near ones."""
    bands = signatures(Row.of(row) for row in rows) if near else np.zeros((len(rows), BANDS), dtype=np.uint64)
    plain = ("record", "language", "annotation_type", "licence", "batch", "statement", "member", "salt", "commitment", "created_at", "tag", "position")
    columns: dict[str, Sequence[Any]] = {name: [getattr(row.source, name) for row in rows] for name in (*plain, "parents", "authors")}
    columns |= {name: [getattr(row, name) for row in rows] for name in ("inputs", "targets", "consents", "marks")}
    columns["history"] = [[text for turn in row.history for text in turn] for row in rows]
    columns["copy_key"] = [copy_key(row.language, row.texts) for row in rows]
    data = bands.astype("<u8", copy=False).tobytes()
    columns["bands"] = [data[start : start + 8 * BANDS] for start in range(0, len(data), 8 * BANDS)]
    return pa.RecordBatch.from_pydict(columns, schema=COLUMNS)


class Shard:
    """The rows a part left in its file; memory-mapped, so that what is not asked for costs nothing."""

    def __init__(self, path: Path) -> None:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
            self._batches = [file.get_batch(number) for number in range(file.num_record_batches)]
        self._starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column of all rows."""
        return pa.chunked_array([batch.column(name) for batch in self._batches], type=COLUMNS.field(name).type)

    def binary(self, name: str, dtype: str) -> np.ndarray[Any, Any]:
        """Return a column of bytes as numbers, shape (rows, bytes of a row / bytes of a number)."""
        width = COLUMNS.field(name).type.byte_width
        parts = [np.frombuffer(batch.column(name).buffers()[1], dtype=np.uint8, count=batch.num_rows * width) for batch in self._batches]
        return np.concatenate([np.empty(0, dtype=np.uint8), *parts]).reshape(-1, width).view(dtype)

    def text(self, row: int) -> Row:
        """Return what the likeness of one row depends on."""
        place = int(np.searchsorted(self._starts, row, side="right")) - 1
        batch, at = self._batches[place], row - int(self._starts[place])
        history = batch.column("history")[at].as_py()
        prompt = batch.column("inputs")[at].as_py()
        return Row(batch.column("language")[at].as_py(), "\n".join([*history, prompt]) if history else prompt, batch.column("targets")[at].as_py())

    def candidates(self, rows: np.ndarray[Any, Any] | None = None) -> list[Candidate]:
        """Return rows by number, or all; the record's own texts are not kept, only what the stages made of them."""
        table = pa.Table.from_batches(self._batches, schema=COLUMNS).drop_columns(["copy_key", "bands"])
        return [_candidate(row) for row in (table if rows is None else table.take(pa.array(rows))).to_pylist()]


def _candidate(row: dict[str, Any]) -> Candidate:
    history = row["history"]
    source = Record(
        record=row["record"],
        inputs="",
        targets="",
        language=row["language"],
        annotation_type=row["annotation_type"],
        user_id=None,
        parents=tuple(row["parents"]),
        licence=row["licence"],
        written_at=None,
        line=0,
        batch=row["batch"],
        position=row["position"],
        statement=row["statement"],
        member=row["member"],
        authors=tuple(row["authors"]),
        salt=row["salt"],
        commitment=row["commitment"],
        created_at=row["created_at"],
        erased_at=None,
        tag=row["tag"],
    )
    turns = tuple(zip(history[::2], history[1::2], strict=True))
    return Candidate(source, tuple(row["consents"]), row["inputs"], row["targets"], tuple(row["marks"]), history=turns)

"""The Parquet file of a build: rows in ledger order, written deterministically, re-checked against the ledger on reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from data_pipeline.candidate import Candidate
from data_pipeline.record import content
from governance_hooks.errors import CoopError
from governance_hooks.ledger import LedgerRow

__all__ = ["SCHEMA", "StoredRow", "checked_rows", "row_batch", "write_rows"]

ROWS_PER_GROUP: Final = 4096

SCHEMA: Final = pa.schema(
    [
        ("record", pa.string()),
        ("inputs", pa.string()),
        ("targets", pa.string()),
        ("history", pa.list_(pa.string())),
        ("language", pa.string()),
        ("tag", pa.string()),
        ("split", pa.string()),
        ("authors", pa.list_(pa.string())),
        ("parents", pa.list_(pa.string())),
        ("credited", pa.list_(pa.string())),
        ("licence", pa.string()),
        ("marks", pa.list_(pa.string())),
        ("content", pa.string()),
        ("salt", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row of the file whose text was just compared with its ledger line."""

    line: LedgerRow
    inputs: str = field(repr=False)
    targets: str = field(repr=False)
    licence: str
    history: tuple[tuple[str, str], ...] = field(repr=False)
    tag: str
    parents: tuple[str, ...]
    marks: tuple[str, ...]
    credited: tuple[str, ...]
    salt: str = field(repr=False)
    """With it, and only with it, the text can be compared with its line."""


def row_batch(candidates: Sequence[Candidate], lines: Sequence[LedgerRow]) -> pa.RecordBatch:
    """Return the rows of ledger lines as the file holds them."""
    columns: dict[str, list[Any]] = {
        "record": [line.record for line in lines],
        "inputs": [candidate.inputs for candidate in candidates],
        "targets": [candidate.targets for candidate in candidates],
        "history": [[text for turn in candidate.history for text in turn] for candidate in candidates],
        "language": [line.language for line in lines],
        "tag": [candidate.source.tag for candidate in candidates],
        "split": [line.split for line in lines],
        "authors": [line.authors for line in lines],
        "parents": [candidate.source.parents for candidate in candidates],
        "credited": [candidate.credited for candidate in candidates],
        "licence": [candidate.source.licence for candidate in candidates],
        "marks": [candidate.marks for candidate in candidates],
        "content": [line.content for line in lines],
        "salt": [candidate.source.salt for candidate in candidates],
    }
    return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


def write_rows(path: Path, parts: Iterable[Path]) -> None:
    """Write the Arrow files of all parts, in order, as one Parquet file; however they were cut, the same rows give the same bytes under the same pyarrow.

    Raises:
        CoopError: the disk refuses; names the file.
    """
    try:
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
            waiting = SCHEMA.empty_table()
            for part in parts:
                with pa.memory_map(str(part)) as source, pa.ipc.open_file(source) as file:
                    waiting = pa.concat_tables([waiting, file.read_all()])
                whole = waiting.num_rows - waiting.num_rows % ROWS_PER_GROUP
                for start in range(0, whole, ROWS_PER_GROUP):
                    writer.write_table(waiting.slice(start, ROWS_PER_GROUP).combine_chunks())
                waiting = waiting.slice(whole).combine_chunks()
            if waiting.num_rows:
                writer.write_table(waiting)
    except OSError as error:
        raise CoopError(f"cannot write {path.name}: {error}", next="free space, then build again; nothing was half-written") from error


def checked_rows(path: Path, lines: Sequence[LedgerRow]) -> Iterator[StoredRow]:
    """Yield the rows, each after comparing its content digest and public fields with its ledger line.

    A file hash taken earlier proves nothing about the bytes read now, so the text itself is hashed again.

    Raises:
        CoopError: the file cannot be read as the rows of exactly these lines; names the row and the record.
    """
    number = 0
    for row in _raw(path):
        where = f"{path}, row {number + 1}"
        if number == len(lines):
            raise CoopError(f"{where}: more rows than the ledger has lines", value=row["record"], allowed=str(len(lines)))
        line = lines[number]
        if row["record"] != line.record:
            raise CoopError(f"{where}: not the text of the ledger's line", value=row["record"], allowed=line.record)
        lists = [row["history"], row["parents"], row["marks"], row["credited"]]
        texts = [row["salt"], row["inputs"], row["targets"], row["language"], row["licence"], row["tag"]]
        sound = all(isinstance(some, list) for some in lists) and all(isinstance(text, str) for some in [texts, *lists] for text in some)
        if not sound or len(row["history"]) % 2:
            raise CoopError(f"{where}: a field of text {line.record} is missing", next="build it again, or fetch an unchanged copy")
        history = tuple(zip(row["history"][::2], row["history"][1::2], strict=True))
        if content(row["salt"], line.record, row["inputs"], row["targets"], row["language"], history) != line.content:
            raise CoopError(f"{where}: text {line.record} is not the one the ledger names", next="build it again, or fetch an unchanged copy")
        for name in ("language", "split", "authors", "content"):
            if (tuple(row[name] or ()) if name == "authors" else row[name]) != (tuple(line.authors) if name == "authors" else getattr(line, name)):
                raise CoopError(f"{where}: {name} of text {line.record} differs from the ledger", value=row[name], allowed=str(getattr(line, name)))
        number += 1
        parents, credited = tuple(row["parents"]), tuple(row["credited"])
        yield StoredRow(line, row["inputs"], row["targets"], row["licence"], history, row["tag"], parents, tuple(row["marks"]), credited, row["salt"])
    if number != len(lines):
        raise CoopError(f"{path}: fewer rows than the ledger has lines", value=number, allowed=str(len(lines)))


def _raw(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise CoopError(f"{path}: unknown columns", value=file.schema_arrow.names, allowed=", ".join(SCHEMA.names))
            for batch in file.iter_batches(batch_size=ROWS_PER_GROUP):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise CoopError(f"{path} cannot be read as Parquet: {error}", next="build it again, or fetch an unchanged copy") from error

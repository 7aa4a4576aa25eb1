"""The Parquet file of a build: rows in ledger order, written deterministically, re-checked against the ledger on reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from data_pipeline.candidate import Candidate
from data_pipeline.record import content
from governance_hooks.errors import CoopError
from governance_hooks.ledger import LedgerRow

__all__ = ["StoredRow", "checked_rows", "write_rows"]

ROWS_PER_GROUP: Final = 4096

SCHEMA: Final = pa.schema(
    [
        ("record", pa.string()),
        ("inputs", pa.string()),
        ("targets", pa.string()),
        ("language", pa.string()),
        ("split", pa.string()),
        ("authors", pa.list_(pa.string())),
        ("licence", pa.string()),
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


def write_rows(path: Path, candidates: Sequence[Candidate], lines: Sequence[LedgerRow]) -> None:
    """Write the rows of the ledger lines; the same rows give the same bytes under the same pyarrow.

    Raises:
        CoopError: the disk refuses; names the file.
    """
    columns: dict[str, list[Any]] = {
        "record": [line.record for line in lines],
        "inputs": [candidate.inputs for candidate in candidates],
        "targets": [candidate.targets for candidate in candidates],
        "language": [line.language for line in lines],
        "split": [line.split for line in lines],
        "authors": [line.authors for line in lines],
        "licence": [candidate.source.licence for candidate in candidates],
        "content": [line.content for line in lines],
        "salt": [candidate.source.salt for candidate in candidates],
    }
    try:
        pq.write_table(pa.table(columns, schema=SCHEMA), path, compression="zstd", row_group_size=ROWS_PER_GROUP)
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
            raise CoopError(f"{where}: not the record of the ledger's line", value=row["record"], allowed=line.record)
        texts = [row["salt"], row["inputs"], row["targets"], row["language"], row["licence"]]
        if (
            not all(isinstance(text, str) for text in texts)
            or content(row["salt"], line.record, row["inputs"], row["targets"], row["language"]) != line.content
        ):
            raise CoopError(f"{where}: the text of record {line.record} is not the one the ledger names", next="build it again, or fetch an unchanged copy")
        for name in ("language", "split", "authors", "content"):
            if row[name] != getattr(line, name):
                raise CoopError(f"{where}: {name} of record {line.record} differs from the ledger", value=row[name], allowed=str(getattr(line, name)))
        number += 1
        yield StoredRow(line, row["inputs"], row["targets"], row["licence"])
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

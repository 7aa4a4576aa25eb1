"""Writing contributions in any known format: whole or not at all, readable by nobody else, never over a file that is there."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from data_pipeline.exporters import argilla, oasst
from data_pipeline.exporters.rows import CELLS, cells_of, row_of
from data_pipeline.record import Draft
from governance_hooks.atomic import PREFIX, atomic_directory
from governance_hooks.errors import BadInput, CoopError

__all__ = ["EXPORTS", "write"]

_ROWS_AT_ONCE: Final = 4096


def write(path: Path, drafts: Iterable[Draft], *, format: str) -> dict[str, int]:  # noqa: A002 - the word for it
    """Write drafts to a new file (for `datasets` a new folder) and return what the format has no place for -> how often it was lost.

    Args:
        path: where; its folder must exist.
        drafts: each with a record id.
        format: a name of `EXPORTS`.

    Raises:
        BadInput: the file is there already.
        CoopError: the disk refuses.
    """
    if path.exists() or path.is_symlink():
        raise BadInput(f"{path} exists already", next="choose another name")
    if format == "datasets":
        with atomic_directory(path) as folder:
            _datasets(folder, drafts)
            for made in folder.iterdir():
                made.chmod(0o600)
        return {}
    with _new_file(path) as file:
        return EXPORTS[format](file, drafts)


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    temporary = path.with_name(f"{PREFIX}{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike a rename it never replaces a file that came meanwhile
    except OSError as error:
        raise CoopError(f"cannot write {path}: {error.strerror or error}", next="free space or choose another folder; nothing was half-written") from error
    finally:
        temporary.unlink(missing_ok=True)


def _json_lines(file: BinaryIO, drafts: Iterable[Draft]) -> dict[str, int]:
    for draft in drafts:
        row = {name: value for name, value in row_of(draft).items() if value not in (None, [])}
        file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return {}


def _csv(file: BinaryIO, drafts: Iterable[Draft]) -> dict[str, int]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(CELLS)
    writer.writerows(map(cells_of, drafts))
    text.detach()
    return {}


def _schema() -> Any:
    import pyarrow as pa

    texts = ("record_id", "inputs", "targets", "language", "language_code", "annotation_type", "user_id")
    lists = [("parents", pa.list_(pa.string())), ("history", pa.list_(pa.list_(pa.string())))]
    return pa.schema([*((name, pa.string()) for name in texts), *lists, ("licence", pa.string()), ("created_at", pa.string())])


def _batches(drafts: Iterable[Draft], schema: Any) -> Iterator[Any]:
    import pyarrow as pa

    rows = map(row_of, drafts)
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        yield pa.RecordBatch.from_pylist(some, schema=schema)


def _parquet(file: BinaryIO, drafts: Iterable[Draft]) -> dict[str, int]:
    import pyarrow.parquet as pq

    schema = _schema()
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in _batches(drafts, schema):
            writer.write_batch(batch)
    return {}


def _datasets(folder: Path, drafts: Iterable[Draft]) -> None:
    """Write what `datasets.save_to_disk` writes, so that `load_from_disk` reads it; the library itself is not needed."""
    import pyarrow as pa

    schema, name = _schema(), "data-00000-of-00001.arrow"
    with (folder / name).open("wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for batch in _batches(drafts, schema):
            writer.write_batch(batch)
    text: dict[str, Any] = {"dtype": "string", "_type": "Value"}
    features = {field.name: text for field in schema} | {
        "parents": {"feature": text, "_type": "List"},
        "history": {"feature": {"feature": text, "_type": "List"}, "_type": "List"},
    }
    state: dict[str, Any] = {
        "_data_files": [{"filename": name}],
        **{"_fingerprint": "0" * 16, "_format_columns": None, "_format_kwargs": {}, "_format_type": None},
        **{"_output_all_columns": False, "_split": None},
    }
    info = {"citation": "", "description": "", "features": features, "homepage": "", "license": ""}
    for file_name, value in (("state.json", state), ("dataset_info.json", info)):
        (folder / file_name).write_text(json.dumps(value, indent=2, sort_keys=True), encoding="utf-8")


EXPORTS: Final[dict[str, Callable[[BinaryIO, Iterable[Draft]], dict[str, int]]]] = {
    "aya": _json_lines,
    "jsonl": _json_lines,
    "oasst": oasst.write,
    "argilla": argilla.write,
    "csv": _csv,
    "parquet": _parquet,
}
"""Format -> writer of the drafts into an open file, which returns what it lost. `datasets` is a folder, and no entry here."""

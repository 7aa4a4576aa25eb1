"""Parquet files, and folders that Hugging Face's `datasets.save_to_disk` wrote, read by Arrow and nothing else.

No code of a data set is ever run and no pickle read: of a folder only `dataset_info.json`'s neighbours `state.json`, `dataset_dict.json`
and the Arrow files they name are opened, none of them through a link or outside the folder. Arrow reads what a file says, so a small file
may ask for much memory: on Linux the reader gets a fixed amount and no more.
"""

from __future__ import annotations

import json
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from data_pipeline.importers.json_text import parse_object
from data_pipeline.importers.refusal import Refused
from data_pipeline.importers.rows import FIELDS, How, draft_of, require_columns
from data_pipeline.importers.source import opened, regular
from data_pipeline.record import Draft
from data_pipeline.text import Problem
from governance_hooks.errors import BadInput

__all__ = ["datasets_items", "parquet_items"]

MAX_ROWS: Final = 1_000_000
READER_BYTES: Final = 2 << 30
"""Address space a reader may take beyond what the process has."""
MAX_TABLE: Final = 512 << 20
"""Most bytes of a Parquet file's columns, unpacked, by its own word."""
_AT_ONCE: Final = 256
_PLAIN_NAME: Final = 255

Item = tuple[int, Draft | Problem]


def parquet_items(path: Path, how: How, left_out: Counter[str], progress: Callable[[str, int, int], None] | None) -> Iterator[Item]:
    """Yield (row, draft or what is wrong); see `formats.Format.items`."""
    import pyarrow.parquet as pq

    with regular(path) as raw, _bounded(path):
        try:
            schema = pq.read_schema(raw)
            names = _text_columns(schema, how)
            file = pq.ParquetFile(raw, read_dictionary=names, pre_buffer=False)
            metadata = file.metadata
            size = sum(
                metadata.row_group(group).column(column).total_uncompressed_size
                for group in range(metadata.num_row_groups)
                for column in range(metadata.num_columns)
            )
            if metadata.num_rows > MAX_ROWS or size > MAX_TABLE:
                raise Refused(Problem("the file is too large", f"{metadata.num_rows} rows, {size} bytes", f"{MAX_ROWS} rows, {MAX_TABLE} bytes unpacked"))
            batches = file.iter_batches(batch_size=_AT_ONCE, columns=_wanted(schema, how), use_threads=False)
            yield from _rows(batches, how, progress, 0, metadata.num_rows)
        except Refused as error:
            yield 1, error.problem


def datasets_items(path: Path, how: How, left_out: Counter[str], progress: Callable[[str, int, int], None] | None) -> Iterator[Item]:
    """Yield (row, draft or what is wrong), the splits in the order the folder names them; see `formats.Format.items`."""
    import pyarrow as pa

    done = 0
    for file in _arrow_files(path):
        with regular(file, follow=False) as raw, _bounded(file):
            try:
                reader = pa.ipc.open_stream(raw)
                _text_columns(reader.schema, how)
                wanted = _wanted(reader.schema, how)
                for number, item in _rows(_valid(reader, wanted), how, progress, done, 0):
                    done = number
                    yield number, item
            except Refused as error:
                yield done + 1, error.problem


def _valid(reader: Any, wanted: list[str]) -> Iterator[Any]:
    for batch in reader:
        batch.validate(full=True)  # offsets that point outside their text
        chosen = batch.select(wanted)
        for start in range(0, chosen.num_rows, _AT_ONCE):
            yield chosen.slice(start, _AT_ONCE)


def _rows(batches: Iterator[Any], how: How, progress: Callable[[str, int, int], None] | None, done: int, total: int) -> Iterator[Item]:
    number = done
    for batch in batches:
        _require_short(batch, how)
        for row in batch.to_pylist():
            number += 1
            if number > MAX_ROWS:
                raise Refused(Problem("the data set is too large", None, f"{MAX_ROWS} rows"))
            try:
                yield number, draft_of(row, number, how)
            except Refused as error:
                yield number, error.problem
        if progress is not None:
            progress("read", number, total)


def _require_short(batch: Any, how: How) -> None:
    """Raise Refused for a text no record can hold: a dictionary lends one to every row, and each row would get a copy."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        texts = column.dictionary if pa.types.is_dictionary(column.type) else column
        if pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type):
            longest = pc.max(pc.binary_length(texts)).as_py() or 0
            if longest > how.line_limit():
                raise Refused(Problem(f"column {name} holds a text of {longest} bytes", None, f"at most {how.max_text_bytes} bytes of UTF-8"))


def _wanted(schema: Any, how: How) -> list[str]:
    return [name for name in schema.names if name in {how.column(field) for field in FIELDS}]


def _text_columns(schema: Any, how: How) -> list[str]:
    """Return the columns of texts there are; raise Refused if one that should be is none, is missing, or stands twice."""
    import pyarrow as pa

    if len(schema.names) != len(set(schema.names)):
        raise Refused(Problem("a column stands twice", sorted(schema.names)[:20], "each column once"))
    require_columns(schema.names, how)
    found = []
    for name in FIELDS:
        column = how.column(name)
        if column not in schema.names or name in ("history", "messages", "parents"):
            continue
        kind = schema.field(column).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
            raise Refused(Problem(f"column {column} is of the wrong type", str(kind)[:60], "text"))
        if not pa.types.is_null(kind):
            found.append(column)
    return found


def _arrow_files(path: Path) -> list[Path]:
    """Return the Arrow files of a folder in their order; raise BadInput if it is none, or names what is outside it."""
    splits = [path]
    if (path / "dataset_dict.json").is_file():
        given = _json(path / "dataset_dict.json").get("splits")
        splits = [path / _inside(path, name) for name in (given if isinstance(given, list) else [])]
    files = []
    for split in splits:
        if split.is_symlink():
            raise BadInput(f"{split} is a link", allowed="a folder")
        given = _json(split / "state.json").get("_data_files")
        for one in given if isinstance(given, list) else []:
            files.append(split / _inside(split, one.get("filename") if isinstance(one, dict) else None))
    return files


def _json(path: Path) -> dict[str, Any]:
    with opened(path, follow=False) as source:
        try:
            return parse_object(source.read(1 << 20))
        except Refused as error:
            raise BadInput(f"{path}:1: {error.problem}") from error


def _inside(folder: Path, name: object) -> str:
    if not isinstance(name, str) or not name or len(name) > _PLAIN_NAME or name in (".", "..") or not name.isprintable() or "/" in name or "\\" in name:
        raise BadInput(f"{folder} names a file that is not in it", value=json.dumps(name)[:100], allowed="a plain file name")
    return name


@contextmanager
def _bounded(path: Path) -> Iterator[None]:
    """Give Arrow a fixed amount of memory, on Linux, and turn what it raises into a BadInput that names the file."""
    import pyarrow as pa

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + READER_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (min(limit, soft) if soft != resource.RLIM_INFINITY else limit, hard))
    try:
        yield
    except MemoryError as error:
        raise BadInput(f"{path} asks for more memory than any honest file needs; nothing was imported", allowed=f"{READER_BYTES >> 20} MiB") from error
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {' '.join(str(error).split())[:200]}; nothing was imported", allowed="a whole Parquet or Arrow file") from error
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

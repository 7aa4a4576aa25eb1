"""The Arrow file of an artefact: written row by row in constant memory, and mapped into memory for reading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
import pyarrow as pa

from data_pipeline.split import Split
from data_pipeline.tokens.sample import Sample
from governance_hooks.errors import CoopError

__all__ = ["ArrowRows", "ArrowWriter"]

ROWS_PER_BATCH: Final = 8192


def _schema(vocabulary: int) -> pa.Schema:
    """Two bytes a token where the vocabulary fits."""
    ids = pa.uint16() if vocabulary <= 1 << 16 else pa.uint32()
    fields = [("record", pa.string()), ("language", pa.string()), ("split", pa.string()), ("ids", pa.list_(ids)), ("start", pa.uint32()), ("stop", pa.uint32())]
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields])


class ArrowWriter:
    """Appends samples to an Arrow IPC file; the same samples give the same bytes under the same pyarrow."""

    def __init__(self, path: Path, vocabulary: int) -> None:
        self.path, self.schema = path, _schema(vocabulary)
        self._dtype = self.schema.field("ids").type.value_type.to_pandas_dtype()
        self._rows: list[Sample] = []

    def __enter__(self) -> ArrowWriter:
        try:
            self._file = pa.ipc.new_file(self.path, self.schema)
        except OSError as error:
            raise self._failed(error) from error
        return self

    def append(self, sample: Sample) -> None:
        """Add one sample; raise CoopError if the disk refuses."""
        self._rows.append(sample)
        if len(self._rows) == ROWS_PER_BATCH:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        offsets = np.cumsum([0, *(len(row.ids) for row in rows)], dtype=np.int32)
        ids = pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate([row.ids for row in rows]).astype(self._dtype)))
        columns = [
            pa.array([row.record for row in rows]),
            pa.array([row.language for row in rows]),
            pa.array([row.split for row in rows]),
            ids,
            pa.array([row.start for row in rows], pa.uint32()),
            pa.array([row.stop for row in rows], pa.uint32()),
        ]
        columns = [column.cast(field.type) for column, field in zip(columns, self.schema, strict=True)]
        try:
            self._file.write_batch(pa.record_batch(columns, schema=self.schema))
        except OSError as error:
            raise self._failed(error) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._flush()
            self._file.close()
        except OSError as failure:
            raise self._failed(failure) from failure

    def _failed(self, error: OSError) -> CoopError:
        return CoopError(f"cannot write {self.path.name}: {error}", next="free space, then run the same command again; nothing was half-written")


class _Batch:
    """One record batch: the token ids are a view into the mapped file, all else a copy.

    An offset that somebody changes in the file afterwards would have the library read outside of it, and abort.
    """

    def __init__(self, batch: Any) -> None:
        self.size: int = batch.num_rows
        record, language, split, ids, start, stop = batch.columns
        self.record = pa.array(record.to_pylist(), pa.string())
        self.language, self.split = language.dictionary_encode(), split.dictionary_encode()
        self.offsets, self.values = ids.offsets.to_numpy().copy(), ids.values.to_numpy()
        self.start, self.stop = start.to_numpy().copy(), stop.to_numpy().copy()


class ArrowRows:
    """The samples of an Arrow file by number; no token id is copied from the mapped file before it is asked for."""

    def __init__(self, path: Path, vocabulary: int) -> None:
        """Map the file; raise CoopError if it is no Arrow file of this schema, or an offset in it points outside."""
        self.path, schema = path, _schema(vocabulary)
        try:
            with pa.ipc.open_file(pa.memory_map(str(path))) as file:
                if not file.schema.equals(schema):
                    raise CoopError(f"{path}: unknown columns", value=file.schema.names, allowed=", ".join(schema.names), next="make the tokens again")
                self._batches: list[_Batch] = []
                for number in range(file.num_record_batches):
                    batch = file.get_batch(number)
                    batch.validate(full=True)
                    if any(column.null_count for column in batch.columns):
                        raise CoopError(f"{path}: an empty field", value=number, next="make the tokens again")
                    self._batches.append(_Batch(batch))
        except (pa.ArrowException, OSError) as error:
            raise CoopError(f"{path} cannot be read as Arrow: {error}", next="make the tokens again") from error
        self._firsts = np.cumsum([0, *(batch.size for batch in self._batches)])

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __getitem__(self, number: int) -> Sample:
        """Return a sample; its ids are a copy, so that what is checked is what is used."""
        which = int(np.searchsorted(self._firsts, number, side="right")) - 1
        return self._sample(self._batches[which], number - int(self._firsts[which]))

    def __iter__(self) -> Iterator[Sample]:
        """Yield all samples in order, their ids as views."""
        for batch in self._batches:
            names = zip(batch.record.to_pylist(), batch.language.to_pylist(), batch.split.to_pylist(), strict=True)
            numbers = zip(batch.offsets.tolist(), batch.offsets[1:].tolist(), batch.start.tolist(), batch.stop.tolist(), strict=False)
            for (record, language, split), (first, end, start, stop) in zip(names, numbers, strict=True):
                yield Sample(record, language, split, batch.values[first:end], start, stop)

    def _sample(self, batch: _Batch, row: int) -> Sample:
        split: Split = batch.split[row].as_py()
        ids = batch.values[batch.offsets[row] : batch.offsets[row + 1]].copy()
        return Sample(batch.record[row].as_py(), batch.language[row].as_py(), split, ids, int(batch.start[row]), int(batch.stop[row]))

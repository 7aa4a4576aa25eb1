"""CSV and TSV (RFC 4180, UTF-8, with a header): the separator is the one the header has most of.

A column `formula_guard` marks what our own export wrote: there a cell that a spreadsheet would take for a formula begins with the
character the column names, and it is taken off again. In any other file such a cell is a text like others.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from data_pipeline.importers.refusal import Refused
from data_pipeline.importers.rows import How, draft_of, require_columns
from data_pipeline.importers.source import Source, opened
from data_pipeline.record import Draft
from data_pipeline.text import Problem

__all__ = ["GUARD", "GUARDED", "GUARD_COLUMN", "items"]

GUARD_COLUMN: Final = "formula_guard"
GUARD: Final = "'"
GUARDED: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", GUARD)
"""Beginnings of a cell a spreadsheet may take for a formula (OWASP, CSV Injection), and the guard itself."""
MAX_COLUMNS: Final = 256


def items(path: Path, how: How, left_out: Counter[str], progress: Callable[[str, int, int], None] | None) -> Iterator[tuple[int, Draft | Problem]]:
    """Yield (line, draft or what is wrong); see `formats.Format.items`. After broken quotes or bytes nothing more can be read."""
    with opened(path) as source:
        lines = _Lines(source, how.line_limit())
        before = csv.field_size_limit(how.line_limit())  # the module's own, for all readers: put back below
        try:
            yield from _rows(source, lines, how, progress)
        except Refused as error:
            yield max(lines.number, 1), error.problem
        except csv.Error as error:
            yield max(lines.number, 1), Problem(f"broken CSV: {error}", None, "cells with quotes or separators in double quotes, quotes doubled")
        finally:
            csv.field_size_limit(before)


def _rows(source: Source, lines: _Lines, how: How, progress: Callable[[str, int, int], None] | None) -> Iterator[tuple[int, Draft | Problem]]:
    header = next(lines, None)
    if header is None:
        return
    separator = max(",;\t", key=header.count)
    columns = next(csv.reader([header], delimiter=separator, strict=True), [])
    if len(columns) != len(set(columns)) or len(columns) > MAX_COLUMNS:
        raise Refused(Problem("a column stands twice, or there are too many", len(columns), f"up to {MAX_COLUMNS} columns, each once"))
    require_columns(columns, how)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        first = lines.number + 1
        cells = next(reader, None)
        if cells is None:
            break
        if not cells:  # a blank line
            continue
        if progress is not None and first % 1000 == 0:
            progress("read", source.done(), source.size)
        try:
            if len(cells) != len(columns):
                raise Refused(
                    Problem(f"{len(cells)} cells under {len(columns)} columns", None, "as many cells as columns; quote those with separators in them")
                )
            row = dict(zip(columns, cells, strict=True))
            if row.get(GUARD_COLUMN) == GUARD:
                row = {name: cell[1:] if cell.startswith(GUARD) else cell for name, cell in row.items()}
            yield first, draft_of(row, first, how)
        except Refused as error:
            yield first, error.problem
    if progress is not None:
        progress("read", source.size, source.size)


class _Lines(Iterator[str]):
    """The lines of a file as text, counted."""

    def __init__(self, source: Source, limit: int) -> None:
        self._lines = source.lines(limit)
        self.number = 0

    def __next__(self) -> str:
        raw = next(self._lines)
        self.number += 1
        if raw is None:
            raise Refused(Problem("the line is too long to hold texts of the allowed size; it was not read"))
        if self.number == 1:
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise Refused(Problem("the text is UTF-16", raw[:2].hex(" "), "UTF-8"))
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            return raw.decode() + "\n"
        except UnicodeDecodeError as error:
            raise Refused(Problem(f"invalid UTF-8 at byte {error.start}", raw[error.start : error.start + 4].hex(" "), "UTF-8")) from error

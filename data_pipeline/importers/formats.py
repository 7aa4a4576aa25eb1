"""The formats contributions come in, and how to tell which one a file has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from data_pipeline.importers import argilla, delimited, json_lines, oasst, tables
from data_pipeline.importers.json_text import parse_object
from data_pipeline.importers.refusal import Refused
from data_pipeline.importers.rows import How
from data_pipeline.importers.source import opened, regular
from data_pipeline.record import Draft
from data_pipeline.text import Problem
from governance_hooks.errors import BadInput

__all__ = ["FORMATS", "Format", "Item", "detect"]

Item = tuple[int, Draft | Problem]
"""Line, row or record from 1, and the draft of it or why there is none."""
Items = Callable[[Path, How, Counter[str], Callable[[str, int, int], None] | None], Iterator[Item]]


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its name, what its numbered parts are called, and the reader."""

    name: str
    unit: str
    items: Items
    """(path, how, what was left out, progress) -> items. A part that is bad is a Problem; what makes the whole file unreadable, BadInput."""


FORMATS: Final = {
    one.name: one
    for one in (
        Format("aya", "line", json_lines.items),
        Format("jsonl", "line", json_lines.items),
        Format("oasst", "line", oasst.items),
        Format("argilla", "record", argilla.items),
        Format("csv", "line", delimited.items),
        Format("parquet", "row", tables.parquet_items),
        Format("datasets", "row", tables.datasets_items),
    )
}
"""`aya` and `jsonl` are both JSON lines in the columns of Aya, unless columns are given."""

_START: Final = 1 << 16


def detect(path: Path) -> Format:
    """Return the format of a file or folder by what is in it; raise BadInput if it is none."""
    if path.is_dir():
        if any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
            return FORMATS["datasets"]
        raise BadInput(f"{path} cannot be read: it is a folder, but not one that datasets.save_to_disk wrote", next="give a file")
    with regular(path) as raw:
        if raw.read(4) == b"PAR1":
            return FORMATS["parquet"]
    if any(suffix in (".csv", ".tsv") for suffix in path.suffixes[-2:]):
        return FORMATS["csv"]
    with opened(path) as source:
        start = source.read(_START).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        return FORMATS["argilla"]
    try:
        first = parse_object(start.split(b"\n")[0])
    except Refused:
        # A tree may be longer than the start; anything else is told, with its line, by the reader of lines.
        return FORMATS["oasst" if start.startswith(b'{"message_tree_id"') else "jsonl"]
    if "message_tree_id" in first and "prompt" in first:
        return FORMATS["oasst"]
    return FORMATS["argilla" if isinstance(first.get("fields"), dict) else "jsonl"]

"""A draft as a row of named values, in the columns importers read without being told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from data_pipeline.importers.delimited import GUARD, GUARD_COLUMN, GUARDED
from data_pipeline.language import language_name
from data_pipeline.record import Draft

__all__ = ["CELLS", "COLUMNS", "cells_of", "row_of"]

COLUMNS: Final = (
    *("record_id", "inputs", "targets", "language", "language_code", "annotation_type", "user_id"),
    *("parents", "history", "licence", "created_at"),
)
CELLS: Final = (*COLUMNS, GUARD_COLUMN)


def row_of(draft: Draft) -> dict[str, str | Sequence[str | Sequence[str]] | None]:
    """Return column -> value: Aya's columns and ours, the language tag in place of the code where the record has one."""
    return {
        "record_id": draft.record_id,
        "inputs": draft.inputs,
        "targets": draft.targets,
        "language": language_name(draft.language),
        "language_code": draft.tag or draft.language,
        "annotation_type": draft.annotation_type,
        "user_id": draft.user_id,
        "parents": list(draft.parents),
        "history": [list(turn) for turn in draft.history],
        "licence": draft.licence,
        "created_at": draft.written_at,
    }


def cells_of(draft: Draft) -> list[str]:
    """Return the row as cells no spreadsheet takes for a formula; see `importers.delimited`."""
    row = row_of(draft)
    row["parents"] = " ".join(draft.parents)
    row["history"] = json.dumps(row["history"], ensure_ascii=False) if draft.history else ""
    cells = ["" if row[name] is None else str(row[name]) for name in COLUMNS]
    return [*(GUARD + cell if cell.startswith(GUARDED) else cell for cell in cells), GUARD]

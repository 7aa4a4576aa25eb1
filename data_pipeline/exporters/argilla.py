"""Records as Argilla 2 reads them (`dataset.records.from_json`): the texts as fields, everything else as metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import BinaryIO

from data_pipeline.exporters.rows import row_of
from data_pipeline.record import Draft

__all__ = ["write"]


def write(file: BinaryIO, drafts: Iterable[Draft]) -> dict[str, int]:
    """Write one JSON list, a record at a time; nothing is lost."""
    file.write(b"[")
    for number, draft in enumerate(drafts):
        row = row_of(draft)
        fields = {"prompt": row.pop("inputs"), "response": row.pop("targets")}
        identifier, history, parents = row.pop("record_id"), row.pop("history"), row.pop("parents")
        metadata = {name: value for name, value in row.items() if value is not None}
        # Argilla's metadata hold texts and numbers, no lists.
        metadata |= {"parents": " ".join(draft.parents)} if parents else {}
        metadata |= {"history": json.dumps(history, ensure_ascii=False)} if history else {}
        record = {"id": identifier, "fields": fields, "metadata": metadata, "suggestions": {}, "responses": {}, "vectors": {}, "status": "pending"}
        file.write((b",\n" if number else b"\n") + json.dumps(record, ensure_ascii=False).encode())
    file.write(b"\n]\n")
    return {}

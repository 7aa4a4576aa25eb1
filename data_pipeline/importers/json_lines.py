"""JSON lines, one record a line, in the columns of the Aya dataset (arXiv 2402.06619) or in others that are named.

    {"inputs": ..., "targets": ..., "language_code": "spa", "annotation_type": "original-annotations", "user_id": ...}

Optional: history, record_id, parents (or parent_id), licence, created_at; or `messages`, a conversation, in place of inputs,
targets and history. Other columns are ignored. The file is hostile until read: bytes are bounded before they are decoded, decoded
before they are parsed, and parsed before they are believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from data_pipeline.importers.json_text import parse_object
from data_pipeline.importers.refusal import Refused
from data_pipeline.importers.rows import How, draft_of
from data_pipeline.importers.source import opened
from data_pipeline.record import Draft
from data_pipeline.text import Problem

__all__ = ["items"]


def items(path: Path, how: How, left_out: Counter[str], progress: Callable[[str, int, int], None] | None) -> Iterator[tuple[int, Draft | Problem]]:
    """Yield (line, draft or what is wrong); see `formats.Format.items`."""
    with opened(path) as source:
        for number, raw in enumerate(source.lines(how.line_limit()), start=1):
            if progress is not None and number % 1000 == 0:
                progress("read", source.done(), source.size)
            try:
                yield number, draft_of(parse_object(raw), number, how)
            except Refused as error:
                yield number, error.problem
        if progress is not None:
            progress("read", source.size, source.size)

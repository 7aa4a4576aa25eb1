"""Import ratings, one JSON object a line: `{"record": "...", "score": 1 to 5, "flags": [...]}`. All or nothing, as with records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from data_pipeline.importers.json_text import parse_object
from data_pipeline.importers.refusal import Refusals, Refused
from data_pipeline.importers.source import opened
from data_pipeline.reviews import RatingDraft
from data_pipeline.text import Problem
from governance_hooks.errors import BadInput
from governance_hooks.reviews import FLAGS

__all__ = ["MAX_RATINGS", "read_ratings"]

MAX_RATINGS: Final = 250_000
_MAX_LINE: Final = 4096


def read_ratings(path: Path, *, progress: Callable[[str, int, int], None] | None = None) -> list[RatingDraft]:
    """Return the ratings of a file in its order; raise BadInput listing up to 20 bad lines. Whether the records exist is the store's check."""
    refusals = Refusals(path, "line")
    drafts: list[RatingDraft] = []
    lines: dict[str, int] = {}
    with opened(path) as source:
        for number, raw in enumerate(source.lines(_MAX_LINE), start=1):
            if progress is not None and number % 1000 == 0:
                progress("read", source.done(), source.size)
            if number > MAX_RATINGS:
                raise BadInput(f"{path} holds more than {MAX_RATINGS} ratings; nothing was imported", next="split it")
            try:
                draft = _draft(raw, number)
                if lines.setdefault(draft.record, number) != number:
                    raise Refused(Problem("this text is rated twice", draft.record, f"each text once; it stands on line {lines[draft.record]}"))
                drafts.append(draft)
            except Refused as error:
                refusals.add(number, error.problem)
                if refusals.full:
                    break
    if not drafts and not refusals:
        refusals.add_file(Problem("no lines"))
    refusals.require_none()
    return drafts


def _draft(raw: bytes | None, number: int) -> RatingDraft:
    row = parse_object(raw)
    unknown = sorted(row.keys() - {"record", "score", "flags"})
    if unknown or "record" not in row or "score" not in row:
        raise Refused(Problem("not a rating", unknown or sorted(row), '{"record": "...", "score": 4, "flags": []}'))
    record, score, flags = row["record"], row["score"], row.get("flags", [])
    if not isinstance(record, str):
        raise Refused(Problem("record is of the wrong type", record, "the id of a text"))
    if type(score) is not int or not 1 <= score <= 5:
        raise Refused(Problem("not a score", score, "1 (unusable) to 5 (excellent)"))
    if not isinstance(flags, list) or not all(flag in FLAGS for flag in flags) or len(flags) != len(set(flags)):
        raise Refused(Problem("flags are not all known, each once", flags, ", ".join(FLAGS)))
    return RatingDraft(record, score, tuple(flags), number)

"""Records exported by Argilla 2 (`dataset.records.to_json`, a JSON list, or one record a line): fields, responses, metadata.

A column is looked up in fields, then metadata, then responses, each question of which may have answers by several users: each answer
then makes a record of its own, `ID-1`, `ID-2`. Suggestions are a model's words and are left out, as are vectors and responses that no
column names (ratings among them: their users are no members, so nobody could sign for them).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from data_pipeline.importers.json_text import elements, parse_object
from data_pipeline.importers.refusal import Refused
from data_pipeline.importers.rows import How, draft_of
from data_pipeline.importers.source import Source, opened
from data_pipeline.record import Draft
from data_pipeline.text import Problem

__all__ = ["items"]

MAX_RECORD: Final = 16 << 20
"""Most bytes of one record."""

_PROMPTS: Final = ("inputs", "prompt", "instruction", "question")
_ANSWERS: Final = ("targets", "response", "completion", "answer")


def items(path: Path, how: How, left_out: Counter[str], progress: Callable[[str, int, int], None] | None) -> Iterator[tuple[int, Draft | Problem]]:
    """Yield (record, draft or what is wrong); see `formats.Format.items`."""
    with opened(path) as probe:
        as_list = probe.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    with opened(path) as source:
        number = 0
        try:
            for raw in elements(source, MAX_RECORD) if as_list else source.lines(MAX_RECORD):
                number += 1
                if progress is not None and number % 1000 == 0:
                    progress("read", source.done(), source.size)
                try:
                    for draft in _drafts(parse_object(raw), number, how, left_out):
                        yield number, draft
                except Refused as error:
                    yield number, error.problem
        except Refused as error:  # of the list itself
            yield max(number, 1), error.problem
        _finish(source, progress)


def _finish(source: Source, progress: Callable[[str, int, int], None] | None) -> None:
    if progress is not None:
        progress("read", source.size, source.size)


def _drafts(record: dict[str, Any], number: int, how: How, left_out: Counter[str]) -> Iterator[Draft]:
    fields, metadata = _object(record, "fields"), _object(record, "metadata")
    responses = {question: _values(question, given) for question, given in _object(record, "responses").items()}
    row = {**metadata, **fields}
    prompt, answer = _place(how, "inputs", _PROMPTS, row, {}), _place(how, "targets", _ANSWERS, row, responses)
    wanted = replace(how, columns={**how.columns, "inputs": prompt, "targets": answer})
    if wanted.column("record_id") not in row and record.get("id") is not None:
        row[wanted.column("record_id")] = record["id"]
    left_out["suggestions, which are a model's words"] += bool(record.get("suggestions"))
    left_out["responses no column names"] += sum(len(values) for question, values in responses.items() if question != answer)
    if answer in row:
        yield draft_of(row, number, wanted)
        return
    answers = responses.get(answer, [])
    left_out["records nobody answered"] += not answers and answer in responses
    for place, (value, user) in enumerate(answers, start=1):
        own: dict[str, Any] = {answer: value, wanted.column("user_id"): user}
        if len(answers) > 1 and isinstance(row.get(wanted.column("record_id")), str):
            own[wanted.column("record_id")] = f"{row[wanted.column('record_id')]}-{place}"
        yield draft_of(row | own, number, wanted)
    if answer not in responses:
        draft_of(row, number, wanted)  # tells what is missing


def _place(how: How, name: str, usual: tuple[str, ...], row: dict[str, Any], responses: dict[str, Any]) -> str:
    """Return the column of a field: the one that was named, else the first usual one there is."""
    if name in how.columns:
        return how.columns[name]
    return next((column for column in usual if column in row or column in responses), name)


def _object(record: dict[str, Any], name: str) -> dict[str, Any]:
    value = record.get(name)
    if value is None and name != "fields":
        return {}
    if not isinstance(value, dict):
        raise Refused(Problem(f"{name} is missing or of the wrong type", value, "an object"))
    return value


def _values(question: str, given: Any) -> list[tuple[Any, Any]]:
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise Refused(Problem(f"responses to {question[:60]!a} are of the wrong type", given, '[{"value": ..., "user_id": ...}]'))
    return [(one.get("value"), one.get("user_id")) for one in given]

"""Rows of named values, whatever file they came from, as drafts: which column is which field, and what a field may hold."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from data_pipeline.importers.refusal import Refused
from data_pipeline.language import parse_tag
from data_pipeline.record import MAX_TEXT_BYTES, NO_LICENCE, Draft, History, instant
from data_pipeline.text import Problem
from governance_hooks.errors import BadInput

__all__ = ["FIELDS", "How", "draft_of", "require_columns", "turns"]

FIELDS: Final = (
    *("inputs", "targets", "messages", "history", "language_code", "language", "annotation_type", "user_id"),
    *("parents", "parent_id", "record_id", "licence", "created_at"),
)
"""What a column can be. `messages` is a whole conversation, in place of inputs, targets and history."""


@dataclass(frozen=True, slots=True)
class How:
    """How a file is to be read."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Field -> the column it stands in, where that is not the field's own name."""
    language: str | None = None
    """BCP 47 tag for rows that name none."""
    licence: str = NO_LICENCE
    """SPDX identifier for rows that name none."""
    max_text_bytes: int = MAX_TEXT_BYTES

    def column(self, name: str) -> str:
        """Return the column a field stands in."""
        return self.columns.get(name, name)

    def line_limit(self) -> int:
        """Return how many bytes a line of JSON may have: two texts, each byte of which JSON may spell in six, and as much for all else."""
        return 2 * 6 * self.max_text_bytes + 65_536

    def require_fields(self) -> None:
        """Raise BadInput if `columns` names a field there is none of, or two fields one column, or the language is none."""
        for name in self.columns:
            if name not in FIELDS:
                near = difflib.get_close_matches(name[:40], FIELDS, n=1)
                raise BadInput(f"--columns: no such field {name!r}", allowed=(f"did you mean {near[0]}? " if near else "") + "fields: " + ", ".join(FIELDS))
        if len(set(self.columns.values())) != len(self.columns):
            raise BadInput("--columns: one column stands for two fields", value=dict(self.columns))
        if self.language is not None:
            parse_tag(self.language, where="--language")


def require_columns(names: Collection[str], how: How) -> None:
    """Raise Refused, with the nearest names, if a file whose columns are known beforehand lacks one that is needed or was asked for."""
    needed = set(how.columns)
    if how.column("messages") not in names:
        needed |= {"inputs", "targets"}
    if how.language is None and how.column("language") not in names:
        needed.add("language_code")
    for name in FIELDS:
        if name in needed and how.column(name) not in names:
            raise Refused(_missing(name, how, names))


def _missing(name: str, how: How, names: Collection[str]) -> Problem:
    column = how.column(name)
    free = [other[:40] for other in islice(names, 50) if other not in FIELDS]
    near = difflib.get_close_matches(column[:40], free, n=1) or difflib.get_close_matches(name, free, n=1)
    if name == "language_code":
        hint = f"a column {column}, or --language TAG for all rows"
    else:
        hint = f"a column {column}, or --columns {name}={near[0] if near else 'COLUMN'}"
    return Problem(f"{column} is missing", near[0] if near else None, hint)


def draft_of(row: Mapping[str, Any], number: int, how: How) -> Draft:
    """Return the draft of a row; raise Refused with what is wrong, as far as types and presence go: `record.problems` tells the rest.

    Args:
        row: column -> value. Lists may also be texts: ids with blanks between, a history as JSON.
        number: line, row or record of the file, from 1.
        how: how to read it.
    """
    history, inputs, targets = _conversation(row, how)
    language, tag = _language(row, how)
    parents = row.get(how.column("parents"))
    if parents is None:
        parents = [] if row.get(how.column("parent_id")) is None else [row[how.column("parent_id")]]
    if isinstance(parents, str):
        parents = parents.split()
    if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in parents):
        raise Refused(Problem("parents is of the wrong type", parents, "a list of record ids"))
    written_at = _text(row, "created_at", how)
    if written_at is not None:
        moment = instant(written_at)
        if moment is None:
            raise Refused(Problem("created_at is not a time with a zone", written_at, "RFC 3339, for example 2026-11-22T13:00:00Z"))
        written_at = moment
    return Draft(
        inputs=inputs,
        targets=targets,
        history=history,
        language=language,
        tag=tag,
        annotation_type=_text(row, "annotation_type", how) or "original-annotations",
        user_id=_text(row, "user_id", how),
        parents=tuple(dict.fromkeys(parents)),
        licence=_text(row, "licence", how) or how.licence,
        record_id=_text(row, "record_id", how),
        written_at=written_at,
        line=number,
    )


def turns(messages: Sequence[Any]) -> tuple[History, str, str]:
    """Return earlier turns, prompt and answer of a conversation as chat templates take it: `{"role", "content"}`, user and assistant in turn.

    Raises:
        Refused: another shape, role or order, or no answer at the end.
    """
    texts: list[str] = []
    for number, message in enumerate(messages, start=1):
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if not isinstance(content, str):
            raise Refused(Problem(f"message {number} has no text", message, '{"role": "user", "content": "..."}'))
        if role != ("user", "assistant")[len(texts) % 2]:
            raise Refused(Problem(f"message {number} is out of turn", role, "user and assistant in turn, the user first; no system message"))
        texts.append(content)
    if not texts or len(texts) % 2:
        raise Refused(Problem("the conversation does not end with an answer", len(texts), "an even number of messages"))
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    return tuple(pairs[:-1]), *pairs[-1]


def _conversation(row: Mapping[str, Any], how: How) -> tuple[History, str, str]:
    messages = row.get(how.column("messages"))
    if messages is not None and how.column("inputs") not in row:
        messages = _parsed(messages, "messages")
        if not isinstance(messages, list):
            raise Refused(Problem("messages is of the wrong type", messages, "a list of messages"))
        return turns(messages)
    return _history(row, how), _required(row, "inputs", how), _required(row, "targets", how)


def _history(row: Mapping[str, Any], how: How) -> History:
    given = row.get(how.column("history"))
    if given is None or given == "":
        return ()
    value = _parsed(given, "history")
    if not isinstance(value, list) or not all(isinstance(turn, list) and len(turn) == 2 and all(isinstance(one, str) for one in turn) for turn in value):
        raise Refused(Problem("history is of the wrong type", value, "a list of [prompt, answer] pairs"))
    return tuple((prompt, answer) for prompt, answer in value)


def _parsed(value: Any, name: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Refused(Problem(f"{name} is not JSON: {error}", value[:40], "a JSON list")) from error


def _language(row: Mapping[str, Any], how: How) -> tuple[str, str]:
    code = _text(row, "language_code", how)
    name = None if code else _text(row, "language", how)
    if code is None and name is None and how.language is None:
        raise Refused(_missing("language_code", how, row.keys()))
    given = code or name or how.language or ""
    try:
        return parse_tag(given, names=not code)
    except BadInput as error:
        raise Refused(Problem("unknown language code", given, error.allowed)) from error


def _required(row: Mapping[str, Any], name: str, how: How) -> str:
    if how.column(name) not in row:
        raise Refused(_missing(name, how, row.keys()))
    value = row[how.column(name)]
    if not isinstance(value, str):
        raise Refused(Problem(f"{name} is of the wrong type", value, "text"))
    return value


def _text(row: Mapping[str, Any], name: str, how: How) -> str | None:
    value = row.get(how.column(name))
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Refused(Problem(f"{name} is of the wrong type", value, "text"))
    return value

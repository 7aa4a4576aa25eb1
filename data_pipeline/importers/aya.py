"""Import contributions in the schema of the Aya dataset (arXiv 2402.06619), one JSON object a line.

    {"inputs": ..., "targets": ..., "language_code": "spa", "annotation_type": "original-annotations", "user_id": ...}

Optional: record_id, parents (or parent_id), licence, created_at. Other columns (Aya's `language` name among them) are
ignored. The file is hostile until read: bytes are bounded before they are decoded, decoded before they are parsed, and
parsed before they are believed. Either every line is good or nothing is imported.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from data_pipeline.language import parse_tag
from data_pipeline.record import MAX_TEXT_BYTES, NO_LICENCE, Draft, Problem, instant, problems
from data_pipeline.store import ContributionStore
from governance_hooks.errors import BadInput

__all__ = ["MAX_ERRORS", "read"]

MAX_ERRORS: Final = 20

REQUIRED: Final = ("inputs", "targets", "language_code")
KNOWN: Final = (*REQUIRED, "language", "annotation_type", "user_id", "parents", "parent_id", "record_id", "licence", "created_at")

# JSON may spell every byte of a text in six (\u0041), and a line holds two texts and some ids.
ESCAPED: Final = 6
OTHER_COLUMNS: Final = 65_536


class _Refused(Exception):
    """A line that yields no draft."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read(
    path: Path,
    *,
    store: ContributionStore | None = None,
    member: str | None = None,
    licence: str = NO_LICENCE,
    max_text_bytes: int = MAX_TEXT_BYTES,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Draft]:
    """Return the drafts of a file in file order.

    Args:
        path: the file, UTF-8.
        store: if given, ids already stored are refused, and parents may stand there.
        member: who will contribute; lets a command killed before sealing be run again on the same file.
        licence: SPDX identifier for lines that name none.
        max_text_bytes: longest prompt or answer in UTF-8.
        progress: called as (label, bytes read, bytes).

    Raises:
        BadInput: lists up to 20 bad lines, each with file, line, what is wrong and what is allowed.
    """
    found: list[str] = []
    drafts: list[Draft] = []
    lines: dict[str, int] = {}

    def refuse(line: int, problem: Problem) -> None:
        found.append(f"{path}:{line}: {problem}")

    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            for number, raw in enumerate(_lines(file, 2 * ESCAPED * max_text_bytes + OTHER_COLUMNS), start=1):
                if len(found) >= MAX_ERRORS:
                    break
                if progress is not None and number % 1000 == 0:
                    progress("read", file.tell(), size)
                try:
                    draft = _draft(raw, number, licence)
                except _Refused as error:
                    refuse(number, error.problem)
                    continue
                for problem in problems(draft, max_text_bytes=max_text_bytes):
                    refuse(number, problem)
                if draft.record_id is not None and lines.setdefault(draft.record_id, number) != number:
                    refuse(number, Problem("duplicate record id", draft.record_id, f"each id once; it stands on line {lines[draft.record_id]}"))
                drafts.append(draft)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", allowed="a file of JSON lines") from error
    if not found and not drafts:
        found.append(f"{path}: no lines")
    if len(found) < MAX_ERRORS:
        found.extend(f"{path}:{line}: {problem}" for line, problem in _against_store(drafts, lines, store, member))
    if found:
        shown = found[:MAX_ERRORS]
        more = "; reading stopped there" if len(found) >= MAX_ERRORS else ""
        raise BadInput(
            f"{len(shown)} error{'s' if len(shown) > 1 else ''} in {path}{more}; nothing was imported\n  " + "\n  ".join(shown),
            next="correct these lines and run the same command again",
        )
    if progress is not None:
        progress("read", size, size)
    return drafts


def _lines(file: BinaryIO, limit: int) -> Iterator[bytes | None]:
    """Yield the lines without their ends; None for one of more than `limit` bytes, which is skipped piece by piece."""
    while raw := file.readline(limit + 1):
        if raw.endswith(b"\n"):
            yield raw[:-1]
        elif len(raw) <= limit:
            yield raw
        else:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(limit)
            yield None


def _object(raw: bytes | None) -> dict[str, Any]:
    if raw is None:
        raise _Refused(Problem("the line is too long to hold two texts of the allowed size; it was not read"))
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise _Refused(Problem(f"invalid UTF-8 at byte {error.start}", raw[error.start : error.start + 4].hex(" "), "UTF-8")) from error

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(items)
        if len(value) != len(items):
            raise _Refused(Problem("a key stands twice in one object", sorted(key for key, _ in items), "each key once"))
        return value

    def constant(text: str) -> None:
        raise _Refused(Problem("not a JSON number", text, "a finite number"))

    try:
        value = json.loads(text.removesuffix("\r").removeprefix("\ufeff"), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise _Refused(Problem(f"broken JSON: {error}", text[:40], "one JSON object a line")) from error
    if not isinstance(value, dict):
        raise _Refused(Problem("not a JSON object", value, "one object a line"))
    return value


def _draft(raw: bytes | None, line: int, licence: str) -> Draft:
    row = _object(raw)
    for name in REQUIRED:
        if name not in row:
            near = difflib.get_close_matches(name, [key[:40] for key in islice(row, 50) if key not in KNOWN], n=1)
            raise _Refused(Problem(f"{name} is missing", near[0] if near else None, f"a column {name}"))
    parents = row.get("parents")
    if parents is None:
        parents = [] if row.get("parent_id") is None else [row["parent_id"]]
    if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in parents):
        raise _Refused(Problem("parents is of the wrong type", parents, "a list of record ids"))
    written_at = _text(row, "created_at")
    if written_at is not None:
        moment = instant(written_at)
        if moment is None:
            raise _Refused(Problem("created_at is not a time with a zone", written_at, "RFC 3339, for example 2026-11-22T13:00:00Z"))
        written_at = moment
    try:
        language, tag = parse_tag(_text(row, "language_code") or "")
    except BadInput as error:
        raise _Refused(Problem("unknown language code", row["language_code"], error.allowed)) from error
    return Draft(
        inputs=_text(row, "inputs") or "",
        targets=_text(row, "targets") or "",
        language=language,
        tag=tag,
        annotation_type=_text(row, "annotation_type") or "original-annotations",
        user_id=_text(row, "user_id"),
        parents=tuple(dict.fromkeys(parents)),
        licence=_text(row, "licence") or licence,
        record_id=_text(row, "record_id"),
        written_at=written_at,
        line=line,
    )


def _text(row: dict[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is None and name not in REQUIRED:
        return None
    if not isinstance(value, str):
        raise _Refused(Problem(f"{name} is of the wrong type", value, "text"))
    return value


def _against_store(drafts: list[Draft], lines: dict[str, int], store: ContributionStore | None, member: str | None) -> Iterator[tuple[int, Problem]]:
    """Yield what only the other lines and the store can tell: unknown parents, ids already taken."""
    outside = {parent for draft in drafts for parent in draft.parents} - lines.keys()
    stored = store.existing(outside | lines.keys()) if store is not None else set()
    repeated = store is not None and member is not None and bool(stored & lines.keys()) and store.holds_unsealed(member, drafts)
    for draft in drafts:
        for parent in draft.parents:
            if parent not in lines and parent not in stored:
                yield draft.line, Problem("unknown parent", parent, "the record_id of a line of this file, or of a stored record")
        if draft.record_id in stored and not repeated:
            yield draft.line, Problem("duplicate record id: already in the store", draft.record_id, "a record id nobody has used")

"""Conversation trees of Open Assistant, one a line (the `ready` export, also packed): every answer becomes a record.

An answer's prompt is the message before it, its history the path above, its parent the answer it continues. Ids, languages, times and
user ids are kept. Left out, and counted: messages that are deleted or written by a model, with all that follows them, answers that
failed their review (they stay in the history of what follows), and labels and ranks: they are means over reviewers who are no members,
so nobody could sign for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from data_pipeline.importers.json_text import parse_object
from data_pipeline.importers.refusal import Refused
from data_pipeline.importers.rows import How
from data_pipeline.importers.source import opened
from data_pipeline.language import parse_tag
from data_pipeline.record import MAX_TURNS, Draft, History, instant
from data_pipeline.text import Problem
from governance_hooks.errors import BadInput

__all__ = ["items"]

MAX_TREE: Final = 16 << 20
"""Most bytes of one tree."""
MAX_MESSAGES: Final = 100_000
"""Most messages of one tree."""

Item = tuple[int, Draft | Problem]


def items(path: Path, how: How, left_out: Counter[str], progress: Callable[[str, int, int], None] | None) -> Iterator[Item]:
    """Yield (line, draft or what is wrong); see `formats.Format.items`."""
    with opened(path) as source:
        for number, raw in enumerate(source.lines(MAX_TREE), start=1):
            if progress is not None:
                progress("read", source.done(), source.size)
            try:
                tree = parse_object(raw)
                if not isinstance(tree.get("prompt"), dict):
                    flat = "text" in tree and "role" in tree
                    raise Refused(Problem("this is a single message, not a tree" if flat else "no tree: prompt is missing", None, "the export of whole trees"))
                yield from ((number, item) for item in _answers(tree["prompt"], number, how, left_out))
            except Refused as error:
                yield number, error.problem


def _answers(root: dict[str, Any], number: int, how: How, left_out: Counter[str]) -> Iterator[Draft | Problem]:
    # A loop over open branches: (message, role expected, turns before, prompt open, last answer's id that is a record).
    open_: list[tuple[Any, str, History, str, str | None]] = [(root, "prompter", (), "", None)]
    seen: set[str] = set()
    while open_:
        message, role, history, prompt, parent = open_.pop()
        try:
            given = _message(message, role, seen)
        except Refused as error:
            yield error.problem
            continue
        text, identifier = given["text"], given["message_id"]
        for label in ("labels", "rank", "emojis"):
            left_out[f"{label} of messages"] += message.get(label) not in (None, {}, [])
        if message.get("deleted") or message.get("synthetic"):
            left_out["messages that are deleted or written by a model, with their replies"] += 1
            continue
        below: tuple[str, History, str, str | None] = ("assistant", history, text, parent)
        if role == "assistant":
            below = ("prompter", (*history, (prompt, text)), "", parent)
            if message.get("review_result") is False:
                left_out["answers that failed their review"] += 1
            else:
                try:
                    yield _draft(message, identifier, history, prompt, text, parent, number, how)
                except Refused as error:
                    yield error.problem
                below = ("prompter", (*history, (prompt, text)), "", identifier)
        replies = message.get("replies") or []
        if not isinstance(replies, list):
            yield Problem(f"message {identifier}: replies is of the wrong type", replies, "a list of messages")
            continue
        if len(below[1]) > MAX_TURNS and replies:
            yield Problem(f"message {identifier}: the conversation goes too deep", len(below[1]), f"at most {MAX_TURNS} earlier turns")
            continue
        open_ += [(reply, *below) for reply in reversed(replies)]


def _message(message: Any, role: str, seen: set[str]) -> dict[str, str]:
    """Return text and id of a message; raise Refused if it is none, out of turn, or stands here twice."""
    if not isinstance(message, dict):
        raise Refused(Problem("a reply is no message", message, "an object"))
    found = {name: message.get(name) for name in ("message_id", "text")}
    for name, value in found.items():
        if not isinstance(value, str):
            raise Refused(Problem(f"message {message.get('message_id')!a:.60}: {name} is missing or of the wrong type", value, "text"))
    identifier = str(found["message_id"])
    if message.get("role") != role:
        raise Refused(Problem(f"message {identifier[:60]!a}: out of turn", message.get("role"), f"{role} here: prompter and assistant in turn"))
    if identifier in seen:
        raise Refused(Problem("a message stands twice in one tree", identifier, "each message_id once"))
    seen.add(identifier)
    if len(seen) > MAX_MESSAGES:
        raise Refused(Problem("the tree has too many messages", None, f"at most {MAX_MESSAGES}"))
    return {name: str(value) for name, value in found.items()}


def _draft(message: dict[str, Any], identifier: str, history: History, prompt: str, text: str, parent: str | None, number: int, how: How) -> Draft:
    def optional(name: str) -> str | None:
        value = message.get(name)
        if value is not None and not isinstance(value, str):
            raise Refused(Problem(f"message {identifier}: {name} is of the wrong type", value, "text"))
        return value

    given, created = optional("lang") or how.language, optional("created_date")
    try:
        language, tag = parse_tag(given or "")
    except BadInput as error:
        raise Refused(Problem(f"message {identifier}: unknown language code", given, error.allowed)) from error
    written_at = None if created is None else instant(created)
    if created is not None and written_at is None:
        raise Refused(Problem(f"message {identifier}: created_date is not a time with a zone", created, "RFC 3339"))
    return Draft(
        inputs=prompt,
        targets=text,
        history=history,
        language=language,
        tag=tag,
        user_id=optional("user_id"),
        parents=(parent,) if parent else (),
        licence=how.licence,
        record_id=identifier,
        written_at=written_at,
        line=number,
    )

"""The files evaluation tasks read: JSON lines of questions, from outside and so read strictly.

Three shapes are known, told apart by their keys: choices (`prompt`, `choices`, `label`), questions with an answer (`question`, `answer`),
and prompts (`prompt`, perhaps `reference`). XCOPA (`premise`, `question`, `choices`, `label`) and MGSM are taken as they are published as JSON lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from data_pipeline.language import check_language, parse_tag
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.task_items import chosen, ids_digest
from governance_hooks.tasks import DataFile, Kind, Task

__all__ = ["MAX_FILE_BYTES", "Question", "asked", "describe_file", "read_questions", "read_task"]

MAX_FILE_BYTES: Final = 64 << 20
MAX_QUESTIONS: Final = 500_000
MAX_TEXT: Final = 32_768
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_ALWAYS: Final = frozenset({"id", "language"})
_MORE: Final = frozenset({"cluster", "split", "changed", "source", "source_commit", "licence"})
"""What a line may say besides; only cluster is read."""

_SHAPES: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    "xcopa": (frozenset({"premise", "question", "choices", "label"}), frozenset()),
    "choices": (frozenset({"prompt", "choices", "label"}), frozenset()),
    "answer": (frozenset({"question", "answer"}), frozenset()),
    "prompt": (frozenset({"prompt"}), frozenset({"reference"})),
}
"""Shape -> keys it must have, and may have."""

_FITTING: Final[dict[Kind, tuple[str, ...]]] = {
    "multiple_choice": ("xcopa", "choices"),
    "exact_match": ("answer",),
    "open": ("prompt",),
    "preference": ("prompt",),
    "unsafe_compliance": ("prompt",),
    "over_refusal": ("prompt",),
}


@dataclass(frozen=True, slots=True)
class Question:
    """One item of a task; texts stay out of its repr, for some of them nobody should print."""

    item: str
    language: str
    """ISO 639-3."""
    cluster: str
    """What hangs together: the item and its translations, or what the file says."""
    prompt: str = field(repr=False)
    relation: str | None = None
    """XCOPA: cause or effect."""
    choices: tuple[str, ...] = field(default=(), repr=False)
    label: int | None = None
    answer: str | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """Everything of the item that training must not have seen."""
        return "\n".join(part for part in (self.prompt, *self.choices, self.answer or "") if part)


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(items)
    if len(out) != len(items):
        raise ValueError("a key stands twice")
    return out


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _text(row: dict[str, Any], name: str, refuse: Callable[[str], BadInput]) -> str:
    value = row[name]
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
        raise refuse(f"{name} is no text of 1 to {MAX_TEXT} characters")
    return value


def _language(value: object, refuse: Callable[[str], BadInput]) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z]{2,3}", value):
        raise refuse("language is no ISO 639 code")
    code = parse_tag(value)[0]
    check_language(code)
    return code


def _cluster(row: dict[str, Any], refuse: Callable[[str], BadInput]) -> str:
    if "cluster" not in row:  # xcopa-et-val-0 and xcopa-it-val-0 are one item, translated
        parts = row["id"].split("-")
        return "-".join(part for part in parts if part != row["language"]) or str(row["id"])
    if not isinstance(row["cluster"], str) or not _ID.fullmatch(row["cluster"]):
        raise refuse("cluster is no name")
    return str(row["cluster"])


def _question(row: Any, kind: Kind, refuse: Callable[[str], BadInput]) -> Question:
    if not isinstance(row, dict) or not row.keys() >= _ALWAYS:
        raise refuse("not an object with id and language")
    keys = row.keys() - _ALWAYS - _MORE
    shape = next((name for name in _FITTING[kind] if _SHAPES[name][0] <= keys <= _SHAPES[name][0] | _SHAPES[name][1]), None)
    if shape is None:
        wanted = " or ".join(", ".join(sorted(_SHAPES[name][0])) for name in _FITTING[kind])
        raise refuse(f"the keys are not those of kind {kind}: id, language and {wanted}")
    if not isinstance(row["id"], str) or not _ID.fullmatch(row["id"]):
        raise refuse("id is no name of letters, digits and . _ : -")
    language, cluster = _language(row["language"], refuse), _cluster(row, refuse)
    if shape == "answer":
        return Question(row["id"], language, cluster, _text(row, "question", refuse), answer=_text(row, "answer", refuse))
    if shape == "prompt":
        return Question(row["id"], language, cluster, _text(row, "prompt", refuse), answer=_text(row, "reference", refuse) if "reference" in row else None)
    choices, label = row["choices"], row["label"]
    if not isinstance(choices, list) or not 2 <= len(choices) <= 26 or len(set(map(str, choices))) != len(choices):
        raise refuse("choices are not 2 to 26 different texts")
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < len(choices):
        raise refuse("label is not the place of a choice")
    texts = tuple(_text({"choice": choice}, "choice", refuse) for choice in choices)
    if shape == "choices":
        return Question(row["id"], language, cluster, _text(row, "prompt", refuse), choices=texts, label=label)
    if row["question"] not in ("cause", "effect"):
        raise refuse("question is neither cause nor effect")
    return Question(row["id"], language, cluster, _text(row, "premise", refuse), row["question"], texts, label)


def read_questions(path: Path, kind: Kind) -> tuple[list[Question], bytes]:
    """Read a task's file; return its questions, sorted, and its bytes.

    Raises:
        BadInput: names file and line, and never repeats a text: the prompts of safety tasks must not land in a terminal or a log.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_FILE_BYTES else b""
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", allowed="JSON lines of questions") from error
    if size > MAX_FILE_BYTES:
        raise BadInput(f"{path} is too large", value=size, allowed=f"at most {MAX_FILE_BYTES} bytes")
    found: dict[str, Question] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue

        def refuse(what: str, number: int = number) -> BadInput:
            return BadInput(f"{path.name}, line {number}: {what}", allowed="docs/eval.md says what a line holds")

        try:
            row = json.loads(line.decode(), object_pairs_hook=_pairs, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise refuse("not one JSON object in UTF-8, each key once") from None
        made = _question(row, kind, refuse)
        if made.item in found:
            raise refuse(f"item {made.item} stands twice")
        found[made.item] = made
        if len(found) > MAX_QUESTIONS:
            raise refuse(f"more than {MAX_QUESTIONS} questions")
    if not found:
        raise BadInput(f"{path.name} holds no question", allowed="JSON lines of questions")
    return [found[item] for item in sorted(found)], data


def asked(questions: list[Question], task: str, languages: list[str], per_language: int | None) -> list[Question]:
    """Return the questions a task asks."""
    there = [one for one in questions if one.language in languages]
    items = chosen(((one.item, one.language) for one in there), task, per_language)
    return [one for one in there if one.item in items]


def describe_file(path: Path, *, task: str, kind: Kind, languages: list[str] | None, per_language: int | None) -> DataFile:
    """Return what a plan says of a task's file: its digest and exactly which items are asked (BadInput if a language has none)."""
    questions, data = read_questions(path, kind)
    wanted = sorted({one.language for one in questions}) if languages is None else languages
    found = asked(questions, task, wanted, per_language)
    lacking = sorted(set(wanted) - {one.language for one in found})
    if lacking:
        raise BadInput(f"{path.name} has no item in {', '.join(lacking)}", allowed=", ".join(sorted({one.language for one in questions})))
    counts = {language: sum(one.language == language for one in found) for language in sorted(wanted)}
    return DataFile(name=path.name, size=len(data), sha256=sha256(data), items=counts, ids=ids_digest((one.item, one.language, one.cluster) for one in found))


def read_task(path: Path, task: Task) -> list[Question]:
    """Read the questions a voted task asks from the file its plan names (BadInput if it is another)."""
    assert task.data is not None
    questions, data = read_questions(path, task.kind)
    if sha256(data) != task.data.sha256:
        raise BadInput(f"{path} is not the file members voted on for task {task.name}", value=sha256(data), allowed=task.data.sha256)
    found = asked(questions, task.name, task.languages, task.items_per_language)
    if ids_digest((one.item, one.language, one.cluster) for one in found) != task.data.ids:
        raise BadInput(f"the items of task {task.name} are not those members voted on", allowed=task.data.ids)
    return found

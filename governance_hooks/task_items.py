"""The per-item results of a task, `eval/items/TASK.jsonl`: read strictly, for every number a release rests on comes from here."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from governance_hooks.canonical import CanonicalError, digest, dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.statistics import DECIMALS, MICRO
from governance_hooks.tasks import PROPORTIONS, Task

__all__ = ["MAX_ITEMS_BYTES", "UNJUDGED", "ItemRow", "chosen", "ids_digest", "read_items", "read_previous", "write_items"]

MAX_ITEMS_BYTES: Final = 256 << 20
UNJUDGED: Final = frozenset({"open", "unsafe_compliance", "over_refusal"})
"""Kinds whose items may wait for people: no rule can judge them, so base and tuned are null."""

_FIELDS: Final = ("base", "cluster", "item", "language", "longest", "overlap", "tuned")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,191}")


@dataclass(frozen=True, slots=True, order=True)
class ItemRow:
    """One item as it came out, scores in millionths."""

    item: str
    language: str
    cluster: str
    base: int | None
    tuned: int | None
    overlap: int
    """Share of the item that also stands in the training texts, in thousandths; 0 if no run of words long enough to tell does."""
    longest: int
    """Longest run of words, or of characters in scripts without spaces, that it has in common with a training text; 0 below what counts."""
    previous: int | None = None

    @property
    def contaminated(self) -> bool:
        """Tell whether training may have shown this item to the model."""
        return self.overlap > 0


def chosen(items: Iterable[tuple[str, str]], task: str, per_language: int | None) -> set[str]:
    """Return which of (item, language) are asked: the first of each language by the digest of task and item, so that nobody picks them."""
    by_language: dict[str, list[str]] = {}
    for item, language in items:
        by_language.setdefault(language, []).append(item)
    return {
        item for listed in by_language.values() for item in sorted(listed, key=lambda item: hashlib.sha256(f"{task}\n{item}".encode()).digest())[:per_language]
    }


def ids_digest(items: Iterable[tuple[str, str, str]]) -> str:
    """Return the digest of the items asked, each (item, language, cluster)."""
    return digest([list(one) for one in sorted(items)])


def _score(row: dict[str, Any], name: str, task: Task, where: str) -> int | None:
    value = row[name]
    if value is None and task.kind in UNJUDGED:
        return None
    exact = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1 and round(value, DECIMALS) == value
    if not exact or (task.kind in PROPORTIONS and value not in (0, 1)):
        allowed = "0 or 1" if task.kind in PROPORTIONS else f"a number from 0 to 1 of at most {DECIMALS} places"
        raise BadInput(f"{where}: {name} is no score of a task of kind {task.kind}", value=value, allowed=allowed)
    micro: int = round(value * MICRO)
    return micro


def _row(value: Any, task: Task, where: str) -> ItemRow:
    fields = sorted((*_FIELDS, "previous")) if task.comparison == "previous" else list(_FIELDS)
    if not isinstance(value, dict) or sorted(value) != fields:
        raise BadInput(f"{where}: wrong fields", value=sorted(value) if isinstance(value, dict) else value, allowed=", ".join(fields))
    if not all(isinstance(value[name], str) and _NAME.fullmatch(value[name]) for name in ("item", "cluster")):
        raise BadInput(f"{where}: item or cluster is no name", value=[value["item"], value["cluster"]], allowed="letters, digits and . _ : / -")
    if value["language"] not in task.languages:
        raise BadInput(f"{where}: the policy does not name this language for task {task.name}", value=value["language"], allowed=", ".join(task.languages))
    for name, most in (("overlap", 1000), ("longest", 2**31)):
        if isinstance(value[name], bool) or not isinstance(value[name], int) or not 0 <= value[name] <= most:
            raise BadInput(f"{where}: {name} is no count", value=value[name], allowed=f"a whole number from 0 to {most}")
    base, tuned = _score(value, "base", task, where), _score(value, "tuned", task, where)
    if (base is None) != (tuned is None):
        raise BadInput(f"{where}: one answer is judged and the other is not", allowed="both or neither")
    return ItemRow(
        value["item"], value["language"], value["cluster"], base, tuned, value["overlap"], value["longest"],
        _score(value, "previous", task, where) if task.comparison == "previous" else None,
    )  # fmt: skip


def read_items(data: bytes, task: Task) -> list[ItemRow]:
    """Read the results of a task; they must be of exactly the items members voted on.

    Raises:
        BadInput: not canonical JSON lines, other fields, a score out of range or not finite, a language the policy does not name, an item
            twice or out of order, or items left out or added.
    """
    source = f"eval/items/{task.name}.jsonl"
    if len(data) > MAX_ITEMS_BYTES or not data.endswith(b"\n"):
        raise BadInput(f"{source} is empty, cut off or too large", value=len(data), allowed=f"whole lines, at most {MAX_ITEMS_BYTES} bytes")
    rows = [
        _row(loads(line, floats=True, source=f"{source}, line {number}"), task, f"{source}, line {number}")
        for number, line in enumerate(data[:-1].split(b"\n"), 1)
    ]
    for before, after in pairwise(rows):
        if before.item >= after.item:
            what = "appears twice" if before.item == after.item else "is out of order"
            raise BadInput(f"{source}: item {what}", value=after.item, allowed="sorted by item, each once")
    if task.data is not None and task.kind != "preference":
        found = {language: sum(row.language == language for row in rows) for language in task.languages}
        if found != task.data.items:
            raise BadInput(f"{source}: not as many items in each language as members voted on", value=found, allowed=str(task.data.items))
        if ids_digest((row.item, row.language, row.cluster) for row in rows) != task.data.ids:
            raise BadInput(f"{source}: the items are not those members voted on", allowed=task.data.ids, next="evaluate again with the file the plan names")
    return rows


def read_previous(data: bytes, task: Task) -> dict[str, float]:
    """Return item -> score of an earlier release's results, which must be the file the plan names (BadInput)."""
    source = f"eval/previous/{task.name}.jsonl"
    if task.previous is None or len(data) > MAX_ITEMS_BYTES or sha256(data) != task.previous.sha256:
        raise BadInput(f"{source} is not the earlier release's results the plan names", value=sha256(data), allowed=str(task.previous and task.previous.sha256))
    earlier: dict[str, float] = {}
    for number, line in enumerate(data.splitlines(), 1):
        row = loads(line, floats=True, source=f"{source}, line {number}")
        if (
            not isinstance(row, dict)
            or not isinstance(row.get("item"), str)
            or _score({"tuned": row.get("tuned")}, "tuned", task, f"{source}, line {number}") is None
        ):
            raise BadInput(f"{source}, line {number}: no item with a score", allowed="item and tuned, a number from 0 to 1")
        earlier[row["item"]] = row["tuned"]
    return earlier


def write_items(rows: Sequence[dict[str, Any]], task: Task) -> bytes:
    """Return the lines of a task's results, sorted; refuse what `read_items` would refuse."""
    try:
        data = b"".join(dumps(row) + b"\n" for row in sorted(rows, key=lambda row: str(row["item"])))
    except CanonicalError as error:
        raise BadInput(f"task {task.name}: a score is not finite", next="the weights have diverged: look at metrics.jsonl") from error
    read_items(data, task)
    return data
